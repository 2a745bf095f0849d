"""The settings of jobs: their names, their bounds, and which of several layers wins."""

from __future__ import annotations

from typing import Any

import pytest

from sqlinfer.config.job_settings import NAMES, JobSettings, SettingsLayers, read_registration, read_settings
from sqlinfer.errors import SqlinferError


def test_the_narrower_layer_wins_and_what_it_leaves_open_stays() -> None:
    settings_layers = SettingsLayers({"max_retries": 1, "timeout": 5.0}, {"max_retries": 2})
    assert settings_layers.over({"max_retries": 0, "timeout": 9.0, "max_seconds": 7.0}) == JobSettings(
        max_retries=2, timeout=5.0, max_seconds=7.0
    )
    settings_layers.set("max_retries", "4")
    assert settings_layers.over({"max_retries": 0}).max_retries == 4
    settings_layers.reset("max_retries")
    assert settings_layers.over().max_retries == 2


def test_variables_of_all_layers_add_up_and_the_record_has_their_names_alone() -> None:
    settings_layers = SettingsLayers(
        {"environment": {"A": "1", "B": "1"}}, {"environment": {"B": "2", "TOKEN": "secret"}}
    )
    assert settings_layers.over({"environment": {"C": "0"}}).environment == {
        "A": "1",
        "B": "2",
        "C": "0",
        "TOKEN": "secret",
    }
    assert settings_layers.as_record() == {"environment": ["A", "B", "TOKEN"]}


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("max_retries", "5", 5),
        ("timeout", "1.5", 1.5),
        ("timeout", -1, None),
        ("error_threshold", "5%", "5%"),
        ("error_threshold", "-1", -1),
        ("logging_level", "INFO", "info"),
        ("environment", "A=1,B=x=y", {"A": "1", "B": "x=y"}),
        ("mini_batch_size", 10, 10),
        ("output_action", "append_row", "append_row"),
        ("max_requests", "-1", None),
        ("max_pairs", 7, 7),
        ("ai_schema", "TRUE", True),
    ],
)
def test_texts_and_values_are_read(name: str, value: Any, read: Any) -> None:
    assert read_settings({name: value}, "here") == {name: read}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("max_retries", True),
        ("timeout", 0),
        ("timeout", "soon"),
        ("error_threshold", "101%"),
        ("error_threshold", 1.5),
        ("logging_level", "loud"),
        ("environment", "A"),
        ("mini_batch_size", 0),
        ("output_action", "append"),
        ("max_requests", "many"),
        ("max_seconds", "nan"),
        ("max_pairs", -2),
        ("ai_schema", "yes"),
        ("max_retrys", 1),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(name: str, value: Any) -> None:
    with pytest.raises(SqlinferError, match=f"here: .*{name}"):
        read_settings({name: value}, "here")


@pytest.mark.parametrize(
    ("threshold", "failed", "goes_on"),
    [(-1, 100, True), (0, 1, False), (3, 3, True), (3, 4, False), ("5%", 5, True), ("5%", 6, False)],
)
def test_a_job_bears_so_many_failures_of_a_hundred_requests(threshold: Any, failed: int, goes_on: bool) -> None:
    assert JobSettings(error_threshold=threshold).within_error_threshold(failed, 100) is goes_on


def test_a_registration_holds_all_but_what_is_about_statements() -> None:
    assert read_registration({"timeout": 3}, "model m") == {"timeout": 3.0}
    with pytest.raises(SqlinferError, match="output_action applies to a statement"):
        read_registration({"output_action": "replace"}, "model m")


def test_every_setting_has_a_reader() -> None:
    for name in NAMES:
        with pytest.raises(SqlinferError, match=f"{name} must be"):
            read_settings({name: object()}, "here")
