"""The learner against plain forwards: the same log-probabilities, the same gradient however it packs."""

from random import Random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from envkit.train import learner as module  # noqa: E402 - it needs torch
from envkit.train.learner import Diverged, Learner, Sample, packed  # noqa: E402
from envkit.train.loss import LOSSES, Drift  # noqa: E402
from envkit.train.types import Row  # noqa: E402


def model(dtype=torch.float32, **settings):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, attn_implementation="sdpa", **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen3ForCausalLM(config).to(dtype).eval()


def row(rng, size, share=0.4):
    made = Row([rng.randrange(64) for _ in range(size)])
    made.mask = [0] + [int(rng.random() < share) for _ in range(size - 1)]
    made.logprobs = [-4.0 * mask for mask in made.mask]
    return made


def some(count=9, seed=1):
    rng = Random(seed)
    return [Sample(row(rng, rng.randrange(4, 40)), rng.uniform(-2, 2)) for _ in range(count)]


def gradients(trainer):
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])


@torch.no_grad()
def plainly(net, sample, temperature=1.0):
    """Log-probabilities of the trained tokens, one row at a time, by the whole model."""
    ids = torch.tensor([sample.row.ids])
    logprobs = torch.log_softmax(net(ids).logits[0].float() / temperature, -1)
    return [logprobs[at - 1, ids[0, at]].item() for at, mask in enumerate(sample.row.mask) if mask]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_a_plain_forward(temperature):
    net, samples = model(), some()
    tokens = Learner(net, lr=1e-3, temperature=temperature).tokens(samples)
    expected = [value for sample in samples for value in plainly(net, sample, temperature)]
    assert tokens.logprobs.tolist() == pytest.approx(expected, abs=1e-5)
    trained = [s.row.mask for s in samples]
    assert tokens.rows.tolist() == [n for n, mask in enumerate(trained) for one in mask if one]


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_gradient_is_the_same_however_rows_are_packed(loss):
    samples = some(14)
    trainer = Learner(model(), lr=1e-3)
    counts, made, losses = [], [], []
    for budget in (100_000, 300, 120, 1):  # in one micro-batch, in some, in one each
        trainer.budget = budget
        counts.append(len(list(packed(samples, budget))))
        losses.append(trainer.gradient(samples, loss))
        made.append(gradients(trainer))
        trainer.gradient(Random(budget).sample(samples, len(samples)), loss)
        made.append(gradients(trainer))
    assert counts[0] == 1
    assert counts[1] >= 2
    assert counts[2] >= 4
    assert counts[3] == 14
    assert losses == pytest.approx([losses[0]] * 4, abs=1e-5)
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], atol=1e-6, rtol=1e-4)


def test_micro_batches_of_one_two_and_seven_rows_by_hand():
    """The reference is autograd over all rows at once, divided by all trained tokens."""
    net, samples = model(), some(7)
    trainer = Learner(net, lr=1e-3)
    total = sum(sample.trained for sample in samples)
    parts = []
    for sample in samples:
        ids = torch.tensor([sample.row.ids])
        logprobs = torch.log_softmax(net(ids).logits[0], -1)
        places = [at for at, mask in enumerate(sample.row.mask) if mask]
        parts += [-sample.advantage * logprobs[at - 1, ids[0, at]] for at in places]
    net.zero_grad()
    (sum(parts) / total).backward()
    expected = gradients(trainer).clone()
    width = max(len(sample.row.ids) for sample in samples)
    for rows in (7, 4, 1):
        trainer.budget = rows * width
        trainer.gradient(samples, "reinforce")
        torch.testing.assert_close(gradients(trainer), expected, atol=1e-6, rtol=1e-4)


def test_the_first_token_has_nothing_before_it():
    sample = Sample(Row([1, 2, 3], [1, 1, 0], [-1.0, -1.0, 0.0]))
    assert sample.trained == 1
    assert len(Learner(model(), lr=1e-3).tokens([sample]).logprobs) == 1


def test_rows_without_trained_tokens_are_not_run():
    nothing = Sample(Row([1, 2], [0, 0], [0.0, 0.0]))
    assert list(packed([nothing], 100)) == []
    trainer, samples = Learner(model(), lr=1e-3), some(3)
    trainer.gradient(samples, "clip")
    expected = gradients(trainer)
    trainer.gradient([*samples, nothing], "clip")
    torch.testing.assert_close(gradients(trainer), expected)


def test_logits_in_pieces_give_the_same(monkeypatch):
    samples, trainer = some(), Learner(model(), lr=1e-3)
    trainer.gradient(samples, "clip")
    expected = gradients(trainer)
    monkeypatch.setattr(module, "LOGITS", 64 * 5)
    trainer.gradient(samples, "clip")
    torch.testing.assert_close(gradients(trainer), expected, atol=1e-6, rtol=1e-4)


def test_a_model_that_scales_its_logits_is_run_whole():
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, logits_scaling=4.0,
    )  # fmt: skip
    net, samples = GraniteForCausalLM(config).eval(), some(4)
    tokens = Learner(net, lr=1e-3).tokens(samples)
    expected = [value for sample in samples for value in plainly(net, sample)]
    assert tokens.logprobs.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_step_makes_good_tokens_likelier_and_bad_ones_rarer():
    net = model()
    good, bad = some(2)
    good, bad = Sample(good.row, 1.0), Sample(bad.row, -1.0)
    before = [sum(plainly(net, sample)) for sample in (good, bad)]
    report = Learner(net, lr=1e-3).step([good, bad], "reinforce")
    after = [sum(plainly(net, sample)) for sample in (good, bad)]
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert report.tokens == good.trained + bad.trained


def test_the_drift_of_fresh_samples_is_nothing():
    net, samples = model(), some()
    for sample in samples:
        logprobs = iter(plainly(net, sample))
        sample.row.logprobs = [next(logprobs) if mask else 0.0 for mask in sample.row.mask]
    drift = Drift()
    trainer = Learner(net, lr=1e-2)
    trainer.gradient(samples, "clip", drift)
    assert drift.largest <= 1e-4
    trainer.step(samples, "clip")
    assert (
        trainer.step(samples, "clip").drift.largest > 1e-3
    )  # and it is seen when weights have moved


def test_warm_up_begins_low():
    net = model()
    before = torch.cat([w.detach().flatten() for w in net.parameters()])
    Learner(net, lr=1e-2, warmup=10).step(some(), "ce")
    moved = torch.cat([w.detach().flatten() for w in net.parameters()]) - before
    assert 0 < moved.abs().max() < 1.1e-3  # Adam's first step is as long as the rate


def test_weights_in_16_bits_learn_what_is_smaller_than_they_can_hold():
    net = model(torch.bfloat16)
    net.lm_head.weight.data.fill_(1.0)  # the next number after 1 is 1.0078
    trainer = Learner(net, lr=1e-3)
    for _ in range(12):
        trainer.step(some(), "ce")
    assert net.lm_head.weight.dtype == torch.bfloat16
    assert (net.lm_head.weight != 1.0).any()
    assert all(weight.grad is None for weight in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_learner_goes_on_where_it_was(dtype):
    one, other = model(dtype), model(dtype)
    straight, broken = Learner(one, lr=1e-2, warmup=10), Learner(other, lr=1e-2, warmup=10)
    for seed in range(4):
        straight.step(some(seed=seed), "ce")
    for seed in range(2):
        broken.step(some(seed=seed), "ce")
    resumed = Learner(other, lr=1e-2, warmup=10)
    resumed.restore(broken.state())
    for seed in (2, 3):
        resumed.step(some(seed=seed), "ce")
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_no_number_stops_before_the_weights_are_touched():
    net = model()
    trainer = Learner(net, lr=1e-2)
    before = [weight.clone() for weight in net.parameters()]
    samples = some(3)
    samples[0] = Sample(samples[0].row, float("nan"))
    with pytest.raises(Diverged, match="lower --lr"):
        trainer.step(samples, "reinforce")
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
