"""A program for onnxruntime: pipelines of transformers, optimum and sentence-transformers on the
models of export_tiny.py; prints what they give as JSON.

python use_transformers.py FOLDER [PROVIDER]
"""

import json
import pathlib
import sys

import onnxruntime
import torch
from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSequenceClassification
from sentence_transformers import SentenceTransformer, models
from transformers import AutoTokenizer, pipeline

PROVIDER = sys.argv[2] if len(sys.argv) > 2 else "CPUExecutionProvider"
DEVICE = "cuda" if PROVIDER.startswith("CUDA") else "cpu"
TEXTS = ["the cat sat on a mat .", "dog", "it was fine . the dog ran away on a cat"]


def classify(folder):
    classifier = pipeline(
        "text-classification",
        model=ORTModelForSequenceClassification.from_pretrained(folder, provider=PROVIDER),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        top_k=None,
        device=DEVICE,
    )
    return [
        {score["label"]: score["score"] for score in scores}
        for scores in classifier(TEXTS, batch_size=2)
    ]


def generate(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = ORTModelForCausalLM.from_pretrained(folder, provider=PROVIDER)
    inputs = tokenizer("the cat sat", return_tensors="pt", add_special_tokens=False)
    inputs = {name: inputs[name].to(DEVICE) for name in ("input_ids", "attention_mask")}
    greedy = model.generate(**inputs, min_new_tokens=12, max_new_tokens=12, do_sample=False)
    beams = model.generate(**inputs, min_new_tokens=8, max_new_tokens=8, num_beams=3)
    return [greedy.tolist(), beams.tolist()]


def embed(folder):
    transformer = models.Transformer(
        str(folder), backend="onnx", model_args={"export": True, "provider": PROVIDER}
    )
    pooling = models.Pooling(32)
    model = SentenceTransformer(modules=[transformer, pooling], device=DEVICE)
    return model.encode(TEXTS).tolist()


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.manual_seed(0)
    results = {
        "module": onnxruntime.InferenceSession.__module__,
        "classes": classify(folder / "classifier_onnx"),
        "tokens": generate(folder / "decoder_onnx"),
        "embeddings": embed(folder / "encoder"),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
