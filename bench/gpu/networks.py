"""The networks of bench/models as PyTorch modules, with weights of their own."""
import os

import torch

os.environ.setdefault("USE_TF", "0")


def image_network(name):
    def make():
        import torchvision

        torch.manual_seed(0)
        return getattr(torchvision.models, name)(weights=None)

    return make


def bert_base():
    import transformers

    return transformers.BertModel(transformers.BertConfig())


def gpt2():
    import transformers

    return transformers.GPT2LMHeadModel(transformers.GPT2Config(use_cache=False))


resnet50, mobilenet_v3_large, efficientnet_b0, vit_b_16, convnext_tiny = map(
    image_network,
    ["resnet50", "mobilenet_v3_large", "efficientnet_b0", "vit_b_16", "convnext_tiny"],
)
