# SPDX-License-Identifier: BSD-3-Clause
"""Prices of many options by the formula of Black and Scholes.

NumPy goes through memory once for each operation. In chunks, it does that in the cache; a compiled loop body keeps
everything in registers.
"""

import math

import numpy as np
from compare import QUICK, compare
from scipy.special import ndtr

import ktask

RATE = 0.02

n = 20_000 if QUICK else 2_000_000
random = np.random.default_rng(1)
spot = random.uniform(10, 50, n)
strike = random.uniform(10, 50, n)
years = random.uniform(0.1, 2, n)
volatility = random.uniform(0.1, 0.6, n)


def prices(spot, strike, years, volatility):
    width = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (RATE + volatility**2 / 2) * years) / width
    return spot * ndtr(d1) - strike * np.exp(-RATE * years) * ndtr(d1 - width)


def with_parallel_for():
    call = np.empty(n)

    def chunk(start, end):
        part = slice(start, end)
        call[part] = prices(spot[part], strike[part], years[part], volatility[part])

    ktask.parallel_for(chunk, n)
    return call


@ktask.loop
def price(i, spot, strike, years, volatility, call):
    width = volatility[i] * math.sqrt(years[i])
    d1 = (math.log(spot[i] / strike[i]) + (RATE + volatility[i] ** 2 / 2) * years[i]) / width
    sold = strike[i] * math.exp(-RATE * years[i])
    call[i] = (spot[i] * math.erfc(-d1 / math.sqrt(2)) - sold * math.erfc((width - d1) / math.sqrt(2))) / 2


def with_loop():
    call = np.empty(n)
    price(range(n), spot, strike, years, volatility, call)
    return call


call = compare(
    {
        "NumPy": lambda: prices(spot, strike, years, volatility),
        "NumPy, ktask.parallel_for": with_parallel_for,
        "ktask.loop": with_loop,
    },
    tolerance=1e-6,
)
print(f"{n} options, {call.mean():.4f} on average")
