"""A model of BART's architecture, tiny and of random weights: its summaries mean nothing, all else is real.

python make_model.py model
"""

import sys
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import BartConfig, BartForConditionalGeneration, BartTokenizer, GenerationConfig

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXT = "The people of the State do enact as follows: the committee shall report on each section."


def make_model(folder: Path) -> None:
    """Write weights, configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT], vocab_size=400, special_tokens=SPECIAL)
    tokenizer.save_model(str(folder))
    BartTokenizer.from_pretrained(folder, model_max_length=1024).save_pretrained(folder)
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=400,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        init_std=0.5,
    )
    model = BartForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        num_beams=2,
        no_repeat_ngram_size=3,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    make_model(Path(sys.argv[1]))
