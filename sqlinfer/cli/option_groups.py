"""The options of a command in groups, for its help: budgets together, and so on."""

from __future__ import annotations

import click

_GROUPS = {
    "SQL and models": ("sql", "db", "settings", "model", "allow_download", "output_action", "ai_schema"),
    "Nodes": ("select", "exclude", "variables", "full_refresh", "threads"),
    "Output": ("format_", "rows", "as_json", "quiet", "logging_level", "to_mlflow"),
    "Running models": ("environment", "mini_batch_size", "max_concurrency_per_instance"),
    "Models behind an address": ("max_in_flight", "requests_per_minute", "tokens_per_minute"),
    "Answers": ("no_store", "cached", "retry_failed"),
    "Failures": ("max_retries", "timeout", "error_threshold"),
    "Budgets": ("max_requests", "max_prompt_tokens", "max_completion_tokens", "max_seconds", "max_cost", "max_pairs"),
}
_OTHERS = "Other options"


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        group_of = {name: group for group, names in _GROUPS.items() for name in names}
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in (*_GROUPS, _OTHERS)}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None and isinstance(option, click.Option):
                records[group_of.get(option.name or "", _OTHERS)].append(record)
        for group, lines in records.items():
            if lines:
                with formatter.section(group):
                    formatter.write_dl(lines)
