"""Vision transformer (Dosovitskiy et al. 2021) for small images."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixscope.base.errors import UserError

NORM_EPS = 1e-6  # The value of the paper's public code.
INIT_STD = 0.02  # Truncated normal (Touvron et al. 2021, as in their code); the cut at 2.0 is out of its reach.


class PatchEmbedding(nn.Module):
    """Cut the image into patches, map each linearly, put the class token first and add the learned positions."""

    def __init__(self, *, image_shape: tuple[int, int, int], patch: int, width: int) -> None:
        super().__init__()
        channels, image_height, image_width = image_shape
        num_patches = (image_height // patch) * (image_width // patch)
        self.patches = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + num_patches, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 1 + number of patches, width)."""
        tokens = self.patches(inputs).flatten(start_dim=2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions


class EncoderBlock(nn.Module):
    """Self-attention, then a two-layer perceptron; each reads a layer norm of the stream and adds to it."""

    def __init__(self, *, width: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, width) to (B, T, width)."""
        tokens = tokens + self._attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def _attention(self, tokens: Tensor) -> Tensor:
        stacked = self.query_key_value(tokens).unflatten(2, (3, self.heads, -1))  # (B, T, 3, heads, width / heads)
        query, key, value = stacked.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.projection(attended.transpose(1, 2).flatten(start_dim=2))


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, pre-norm encoder blocks; a linear head reads the class token.

    `patch` is the side of a patch in pixels, `width` that of the stream, a multiple of `heads`, and `mlp` the hidden
    width of the perceptron of each block. Deviation: no dropout (the paper pre-trains with 0.1 or 0), and linear
    weights, the class token and the positions start from a truncated normal (see INIT_STD), biases from 0.

    Attributes:
        sites: "embedding" and "blocks.0", "blocks.1", ...: (B, 1 + number of patches, width); "norm", the normalised
            class token: (B, width); "head": (B, K).
        head: The classifier; its input is the output of "norm".

    Raises:
        UserError: If the patch size does not divide the image.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        image_shape: tuple[int, int, int],
        patch: int,
        depth: int,
        width: int,
        heads: int,
        mlp: int,
    ) -> None:
        super().__init__()
        _, height, breadth = image_shape
        if height % patch or breadth % patch:
            got = f"{height}x{breadth}"
            raise UserError(f"image height and width must be multiples of the patch size {patch}, got {got}")
        self.embedding = PatchEmbedding(image_shape=image_shape, patch=patch, width=width)
        self.blocks = nn.Sequential(*(EncoderBlock(width=width, heads=heads, mlp=mlp) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.head = nn.Linear(width, num_classes)
        self.sites = ("embedding", *(f"blocks.{index}" for index in range(depth)), "norm", "head")
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.embedding.class_token, std=INIT_STD)
        nn.init.trunc_normal_(self.embedding.positions, std=INIT_STD)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K)."""
        tokens = self.blocks(self.embedding(inputs))
        # The norm acts on each token alone, so only the one that is read is normalised.
        return self.head(self.norm(tokens[:, 0]))


# ViT-Base of the paper's Table 1 on patches of 4x4; and ours, half of ViT-Tiny's depth, for short runs.
vit_b4 = partial(VisionTransformer, patch=4, depth=12, width=768, heads=12, mlp=3072)
vit_small = partial(VisionTransformer, patch=4, depth=6, width=192, heads=3, mlp=768)
