"""Small models as PyTorch users write them, for tests that exchange weights and optimizer states.

`ResNet` has torchvision's names. `Decoder` follows the definition of the OLMo and OLMo 2 models in Hugging Face's
transformers, with their names and the fields of their config.json. `MLP` is a list of linear layers.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A ResNet of depth 6n + 2 for small images. Images are NCHW."""

    def __init__(self, depth, width, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            blocks = []
            for i in range((depth - 2) // 6):
                blocks.append(BasicBlock(inputs, outputs, 2 if stage > 0 and i == 0 else 1))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class LayerNorm(nn.Module):
    """The norm of OLMo, which has no learned parameters."""

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], eps=1e-5)


class RMSNorm(nn.Module):
    def __init__(self, width, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon))


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], -1)


def rotary(x, theta):
    """Rotates x [batch, heads, length, size]."""
    length, size = x.shape[-2:]
    frequencies = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * torch.cat([frequencies, frequencies])
    return x * angles.cos().to(x) + rotate_half(x) * angles.sin().to(x)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.pairs = config.get("num_key_value_heads") or self.heads
        self.size = width // self.heads
        self.clip = config.get("clip_qkv")
        self.theta = config.get("rope_theta", 10000.0)
        self.q_proj = nn.Linear(width, self.heads * self.size, bias=False)
        self.k_proj = nn.Linear(width, self.pairs * self.size, bias=False)
        self.v_proj = nn.Linear(width, self.pairs * self.size, bias=False)
        self.o_proj = nn.Linear(self.heads * self.size, width, bias=False)
        self.normalized = config["model_type"] == "olmo2"
        if self.normalized:
            self.q_norm = RMSNorm(self.heads * self.size, config.get("rms_norm_eps", 1e-5))
            self.k_norm = RMSNorm(self.pairs * self.size, config.get("rms_norm_eps", 1e-5))

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.normalized:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.clip is not None:
            q, k, v = (y.clamp(-self.clip, self.clip) for y in (q, k, v))
        q, k, v = (y.reshape(batch, length, -1, self.size).transpose(1, 2) for y in (q, k, v))
        q, k = rotary(q, self.theta), rotary(k, self.theta)
        k, v = (y.repeat_interleave(self.heads // self.pairs, 1) for y in (k, v))
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(2, 3) / math.sqrt(self.size)).masked_fill(future, -math.inf)
        return self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, hidden = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """OLMo normalizes the inputs of attention and feed-forward. OLMo 2 normalizes their outputs."""

    def __init__(self, config):
        super().__init__()
        self.after = config["model_type"] == "olmo2"
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        if self.after:
            width, epsilon = config["hidden_size"], config.get("rms_norm_eps", 1e-5)
            self.post_attention_layernorm = RMSNorm(width, epsilon)
            self.post_feedforward_layernorm = RMSNorm(width, epsilon)
        else:
            self.input_layernorm = LayerNorm()
            self.post_attention_layernorm = LayerNorm()

    def forward(self, x):
        if self.after:
            x = x + self.post_attention_layernorm(self.self_attn(x))
            return x + self.post_feedforward_layernorm(self.mlp(x))
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Computes logits [batch, length, vocabulary] from tokens [batch, length]."""

    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config["vocab_size"], width)
        self.model.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config["num_hidden_layers"])])
        after = config["model_type"] == "olmo2"
        self.model.norm = RMSNorm(width, config.get("rms_norm_eps", 1e-5)) if after else LayerNorm()
        tied = config.get("tie_word_embeddings", False)
        self.lm_head = None if tied else nn.Linear(width, config["vocab_size"], bias=False)

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        for layer in self.model.layers:
            x = layer(x)
        head = self.model.embed_tokens if self.lm_head is None else self.lm_head
        return F.linear(self.model.norm(x), head.weight)
