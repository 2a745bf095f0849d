"""The logits processors that a sequence's settings ask for: transformers' own classes, one list a row."""

from __future__ import annotations

import torch
from transformers import LogitsProcessor
from transformers.generation import logits_process as lp

from sqlinfer.engine.sequence import Sequence


def build_processors(sequence: Sequence, device: torch.device) -> list[LogitsProcessor]:
    """The processors of one sequence, in transformers' order; they see its own token ids and logits only."""
    settings = sequence.settings
    model = settings.model
    begin, eos = len(sequence.decoder_prompt), sorted(settings.eos)
    processors: list[LogitsProcessor] = []
    if "sequence_bias" in model:
        processors.append(lp.SequenceBiasLogitsProcessor(model["sequence_bias"]))
    if (penalty := model.get("encoder_repetition_penalty", 1.0)) != 1.0:
        prompt = torch.tensor([sequence.prompt], device=device)
        processors.append(lp.EncoderRepetitionPenaltyLogitsProcessor(penalty, prompt))
    if (penalty := model.get("repetition_penalty", 1.0)) != 1.0:
        processors.append(lp.RepetitionPenaltyLogitsProcessor(penalty))
    if (size := model.get("no_repeat_ngram_size", 0)) > 0:
        processors.append(lp.NoRepeatNGramLogitsProcessor(size))
    if (size := model.get("encoder_no_repeat_ngram_size", 0)) > 0:
        prompt = torch.tensor([sequence.prompt], device=device)
        processors.append(lp.EncoderNoRepeatNGramLogitsProcessor(size, prompt))
    if "bad_words_ids" in model:
        processors.append(lp.NoBadWordsLogitsProcessor(model["bad_words_ids"], eos or None))
    if settings.min_tokens > 0 and eos:
        processors.append(lp.MinNewTokensLengthLogitsProcessor(begin, settings.min_tokens, eos, device=str(device)))
    if "forced_bos_token_id" in model:
        processors.append(lp.ForcedBOSTokenLogitsProcessor(model["forced_bos_token_id"]))
    if "forced_eos_token_id" in model:
        last, token = begin + settings.max_tokens, model["forced_eos_token_id"]
        processors.append(lp.ForcedEOSTokenLogitsProcessor(last, token, device=str(device)))
    if "exponential_decay_length_penalty" in model and eos:
        ends = torch.tensor(eos, device=device)
        decay = tuple(model["exponential_decay_length_penalty"])
        processors.append(lp.ExponentialDecayLengthPenalty(decay, ends, begin))
    if "suppress_tokens" in model:
        processors.append(lp.SuppressTokensLogitsProcessor(model["suppress_tokens"], device=str(device)))
    if "begin_suppress_tokens" in model:
        first = begin + int(begin == 1 and "forced_bos_token_id" in model)
        processors.append(lp.SuppressTokensAtBeginLogitsProcessor(model["begin_suppress_tokens"], first, str(device)))
    return processors


def process(sequence: Sequence, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Scores (slots, vocab) of one sequence, given the ids (slots, tokens) so far, through its processors."""
    for processor in sequence.processors:
        scores = processor(ids, scores)
    return scores
