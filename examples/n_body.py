# SPDX-License-Identifier: BSD-3-Clause
"""A cluster of stars that attract each other, for some steps of time."""

import math

import numpy as np
from compare import QUICK, compare

import ktask

SOFT = 1e-3  # how near two stars must come before they count as one, squared
STEP = 1e-3
STEPS = 3

n = 100 if QUICK else 1500
random = np.random.default_rng(1)
positions = random.normal(size=(n, 3))
velocities = random.normal(size=(n, 3)) / 10
masses = random.uniform(0.5, 1.5, n) / n


def with_numpy(x):
    apart = x[None, :, :] - x[:, None, :]
    cubes = ((apart**2).sum(axis=2) + SOFT) ** -1.5
    return (apart * (masses * cubes)[:, :, None]).sum(axis=1)


def pull(i, x, masses, a):
    ax = ay = az = 0.0
    for j in range(len(x)):
        dx, dy, dz = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
        square = dx * dx + dy * dy + dz * dz + SOFT
        strength = masses[j] / (square * math.sqrt(square))
        ax += strength * dx
        ay += strength * dy
        az += strength * dz
    a[i, 0], a[i, 1], a[i, 2] = ax, ay, az


pull_all = ktask.loop(pull)
pull_all_alone = ktask.loop(pull, max_threads=1)


def accelerations(loop, x):
    a = np.empty_like(x)
    loop(range(n), x, masses, a)
    return a


def simulate(accelerations):
    x, v = positions.copy(), velocities.copy()
    a = accelerations(x)
    for _ in range(STEPS):
        v += a * (STEP / 2)
        x += v * STEP
        a = accelerations(x)
        v += a * (STEP / 2)
    return x


compare(
    {
        "NumPy": lambda: simulate(with_numpy),
        "ktask.loop, one thread": lambda: simulate(lambda x: accelerations(pull_all_alone, x)),
        "ktask.loop": lambda: simulate(lambda x: accelerations(pull_all, x)),
    },
    tolerance=1e-9,
)
