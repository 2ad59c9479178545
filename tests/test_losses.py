"""Losses against values computed by hand."""

import math

import pytest
import torch

from shm_model.losses import alpha_loss, composite_loss, prediction_loss, total_loss, trimap_loss

torch.set_num_threads(1)


def row(*values):
    """One sample of one channel, one row of pixels: (1, 1, 1, W)."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def colours(*pixels):
    """One row of RGB pixels: (1, 3, 1, W)."""
    return torch.tensor(pixels, dtype=torch.float32).T.reshape(1, 3, 1, -1)


# softmax (1/6, 2/6, 3/6) and (4/6, 1/6, 1/6)
LOGITS = torch.tensor([[1.0, 2, 3], [4, 1, 1]]).log().T.reshape(1, 3, 1, 2)
LABELS = torch.tensor([[[2, 0]]])

F = colours((1, 0, 0.5), (0.2, 0.4, 0.6))
B = colours((0, 0, 0.5), (0.6, 0.4, 0.2))
I = colours((0.5, 0, 0.5), (0.2, 0.4, 0.6))  # noqa: E741 - the field's name
ALPHA = row(0.7, 0.75)
TRUTH = row(0.5, 1)
# 0.7 - 0.5 in red alone; 0.25 times the difference (0.4, 0, 0.4)
COMPOSITE = ((0.2 / 3) + (0.2 / 3)) / 2


def test_cross_entropy_is_the_mean_surprise():
    assert trimap_loss(LOGITS, LABELS).item() == pytest.approx((math.log(2) + math.log(1.5)) / 2)


def test_dice_is_the_mean_over_classes():
    # class: sum of p g, sum of p, sum of g
    parts = [(4 / 6, 5 / 6, 1), (0, 3 / 6, 0), (3 / 6, 4 / 6, 1)]
    expected = sum(1 - (2 * both + 1) / (p + g + 1) for both, p, g in parts) / 3
    assert trimap_loss(LOGITS, LABELS, "dice").item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["ce", "dice"])
def test_a_perfect_trimap_costs_nothing_and_a_wrong_one_much(kind):
    labels = torch.randint(0, 3, (2, 20, 20), generator=torch.Generator().manual_seed(1))
    logits = 50 * torch.eye(3)[labels].permute(0, 3, 1, 2)
    assert trimap_loss(logits, labels, kind) == pytest.approx(0, abs=1e-6)
    assert trimap_loss(logits, (labels + 1) % 3, kind) > 0.9


@pytest.mark.parametrize("kind", ["ce", "dice"])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_every_class_counts(kind, label):
    labels = torch.full((1, 8, 8), label)
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    trimap_loss(logits, labels, kind).backward()
    assert (logits.grad[:, label] < 0).all()


def test_the_alpha_loss_is_the_mean_absolute_difference():
    assert alpha_loss(ALPHA, TRUTH).item() == pytest.approx((0.2 + 0.25) / 2)
    assert alpha_loss(ALPHA, TRUTH, row(1, 3)).item() == pytest.approx((0.2 + 3 * 0.25) / 4)


def test_the_composite_loss_compares_colours():
    assert composite_loss(ALPHA, I, F, B).item() == pytest.approx(COMPOSITE)
    assert composite_loss(ALPHA, I, F, B, row(1, 0)).item() == pytest.approx(0.2 / 3)
    assert composite_loss(TRUTH, I, F, B).item() == pytest.approx(0, abs=1e-7)


def test_a_uniform_weight_changes_nothing():
    weight = row(0.3, 0.3)
    torch.testing.assert_close(alpha_loss(ALPHA, TRUTH, weight), alpha_loss(ALPHA, TRUTH))
    torch.testing.assert_close(composite_loss(ALPHA, I, F, B, weight), composite_loss(ALPHA, I, F, B))


def test_where_nothing_weighs_the_loss_and_its_gradient_are_zero():
    alpha = ALPHA.clone().requires_grad_()
    loss = prediction_loss(alpha, TRUTH, I, F, B, weight=torch.zeros_like(TRUTH))
    loss.backward()
    assert loss.item() == 0 and not alpha.grad.any()


@pytest.mark.parametrize("gamma", [0, 0.5, 1])
def test_the_prediction_loss_weighs_its_two_parts(gamma):
    expected = gamma * 0.225 + (1 - gamma) * COMPOSITE
    assert prediction_loss(ALPHA, TRUTH, I, F, B, gamma).item() == pytest.approx(expected)


def test_the_total_adds_a_little_of_the_trimaps_loss():
    assert total_loss(torch.tensor(0.5), torch.tensor(2.0)).item() == pytest.approx(0.52)
    assert total_loss(torch.tensor(0.5), torch.tensor(2.0), 1).item() == pytest.approx(2.5)


def test_losses_are_float32_under_autocast():
    alpha, logits = ALPHA.bfloat16(), LOGITS.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        results = [trimap_loss(logits, LABELS, kind) for kind in ("ce", "dice")]
        results.append(prediction_loss(alpha, TRUTH, I, F, B))
    assert {result.dtype for result in results} == {torch.float32}
    assert {result.shape for result in results} == {torch.Size([])}
