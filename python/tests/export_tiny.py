"""Writes tiny models of transformers with random weights, in ONNX, for use_transformers.py."""

import pathlib
import sys

import torch
from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSequenceClassification
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
)

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on a mat dog ran away it was fine .".split()
SIZES = dict(vocab_size=len(WORDS), max_position_embeddings=64)
BERT = BertConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, **SIZES
)
GPT2 = GPT2Config(
    n_embd=32,
    n_layer=2,
    n_head=4,
    n_positions=64,
    vocab_size=len(WORDS),
    bos_token_id=2,
    eos_token_id=3,
    pad_token_id=0,
)


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    modules = {
        "classifier": BertForSequenceClassification(BERT),
        "encoder": BertModel(BERT),
        "decoder": GPT2LMHeadModel(GPT2),
    }
    for name, module in modules.items():
        module.eval().save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    ORTModelForSequenceClassification.from_pretrained(
        folder / "classifier", export=True
    ).save_pretrained(folder / "classifier_onnx")
    ORTModelForCausalLM.from_pretrained(folder / "decoder", export=True).save_pretrained(
        folder / "decoder_onnx"
    )
    for name in ("classifier_onnx", "decoder_onnx"):
        tokenizer.save_pretrained(folder / name)


if __name__ == "__main__":
    main()
