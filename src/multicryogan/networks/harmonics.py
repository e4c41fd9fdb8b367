"""Circular harmonics of an image's Fourier transform, ring by ring."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OVERSAMPLING = 4  # points on a ring for each order: the discarded ones do not alias


def circular_harmonics(box: int, rings: int, orders: int) -> Tensor:
    """Analyse images on rings of their Fourier transform: the matrix that does it.

    With F(k, φ) the transform of an image about its centre, D // 2, row (k, m) gives
    `b[k, m] = sqrt(v) / (2 pi) integral F(k, φ) exp(-i m φ) dφ`, with v = 2 pi k / D^2
    for m = 0 and twice that for m > 0, whose conjugates at -m are left out. Then

    - `sum |b|^2` is the sum over pixels of the squared image, for images that sum to
      zero, are smaller than the box and hold no more than these rings and orders;
    - white noise of variance one in a disc of radius D / 2 gives the real part of every
      b[k, m] that reaches into it (m < pi k), and for m > 0 the imaginary part, a mean
      square of about sqrt(1 - (m / (pi k))^2);
    - a turn of the image by α, from +x to +y, multiplies b[k, m] by exp(-i m α); a
      mirror that exchanges left and right conjugates it.

    Args:
        box: Side D of the images in pixels.
        rings: Rings k = 1 .. rings, in Fourier pixels.
        orders: Orders m = 0 .. orders - 1.

    Returns:
        (rings, orders, D * D) complex matrix for images flattened by rows.
    """
    points = OVERSAMPLING * orders
    angle = torch.arange(points, dtype=torch.float64) * 2 * math.pi / points
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    twice = torch.where(torch.arange(orders) == 0, 1.0, 2.0)
    matrix = torch.empty(rings, orders, box**2, dtype=torch.complex64)
    for k in range(1, rings + 1):  # one at a time: all would fill the memory
        turn = -2j * math.pi / box * k
        along_x = (turn * torch.outer(angle.cos(), axis)).exp()  # (points, D)
        along_y = (turn * torch.outer(angle.sin(), axis)).exp()
        waves = (along_y[:, :, None] * along_x[:, None, :]).flatten(1)
        harmonics = torch.fft.fft(waves, dim=0)[:orders] / points
        weight = 2 * math.pi * k / box**2 * twice
        matrix[k - 1] = weight.sqrt()[:, None] * harmonics
    return matrix
