"""Keyed draws: the same for the same key, no function of each other, usable like any `random.Random`."""

import copy
import pickle
import random

import pytest

from envkit.data.keyed import KeyedRandom


def test_the_same_key_and_label_draw_the_same():
    draws = [
        [
            rng.random(),
            rng.randint(0, 10**30),
            rng.sample(range(50), 5),
            rng.gauss(0, 1),
            rng.randbytes(9),
        ]
        for rng in (KeyedRandom(b"k", "a"), KeyedRandom(b"k", "a"))
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    "other", [KeyedRandom(b"k", "b"), KeyedRandom(b"l", "a"), KeyedRandom(b"ka", "")]
)
def test_another_key_or_label_draws_another(other):
    assert other.random() != KeyedRandom(b"k", "a").random()


def test_the_state_is_not_given_away():
    rng = KeyedRandom(b"k")
    for take in (rng.getstate, lambda: pickle.dumps(rng), lambda: copy.copy(rng)):
        with pytest.raises(TypeError):
            take()
    rng.seed(1)
    assert rng.random() == KeyedRandom(b"k").random(), "seeding must not move the stream"


def test_draws_do_not_betray_later_ones_as_mersenne_twister_does():
    """The attack: 624 words give MT's state away, and with it every later draw. On a keyed stream it fails."""

    def predict(words: list[int]) -> random.Random:
        def untemper(y: int) -> int:
            y ^= y >> 18
            y ^= (y << 15) & 0xEFC60000
            x = y
            for _ in range(5):
                x = y ^ ((x << 7) & 0x9D2C5680)
            y = x
            x = y
            for _ in range(3):
                x = y ^ (x >> 11)
            return x & 0xFFFFFFFF

        clone = random.Random()
        clone.setstate((3, (*[untemper(word) for word in words], 624), None))
        return clone

    twister = random.Random(1234)
    clone = predict([twister.getrandbits(32) for _ in range(624)])
    assert [clone.getrandbits(32) for _ in range(5)] == [
        twister.getrandbits(32) for _ in range(5)
    ], "the attack works"
    keyed = KeyedRandom(b"k")
    clone = predict([keyed.getrandbits(32) for _ in range(624)])
    assert [clone.getrandbits(32) for _ in range(5)] != [keyed.getrandbits(32) for _ in range(5)]


def test_draws_are_uniform_enough():
    rng = KeyedRandom(b"k")
    counts = [0] * 10
    for _ in range(20_000):
        counts[rng.randrange(10)] += 1
    assert all(1800 < count < 2200 for count in counts)
    assert all(0 <= rng.random() < 1 for _ in range(1000))
    assert {rng.getrandbits(3) for _ in range(200)} == set(range(8))
