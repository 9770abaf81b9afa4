// SPDX-License-Identifier: BSD-3-Clause
// long.cpp: loops of 200 ms, and how well they are balanced; and a million units as small as they get.
//
//   long round scale

#include "bodies.h"
#include "peers.hpp"
#include "turns.hpp"

#include <cmath>
#include <cstdlib>
#include <random>

static const double SERIAL_NS = 200e6;

// The ideal is an equal share for each CPU, unless one unit alone takes longer.
static void measure(const char *workload, size_t n, thread_func func, void *arg, bool backwards)
{
	uint64_t longest = 0;

	for (size_t i = 0; n < 100000 && i < n; i++) {
		uint64_t begin = now(), between, end;

		call(func, i, i + 1, arg);
		between = now();
		call(func, i, i + 1, arg);
		end = now();
		longest = std::max(longest, std::min(between - begin, end - between)); // one may be interrupted
	}
	for (int turn = 0; turn < 2; turn++) {
		way serial{ [=] { call(func, 0, n, arg); } };
		way team{ [=] { parallel(n, 1, func, arg); } };

		in_turns({ &serial, &team }, 1, backwards != (turn == 1), 0, 0);
		print(workload, (double)n, serial, team, std::max(serial.took() / nr_cpus(), longest));
	}
}

static double ns_per_division()
{
	uint32_t cost = 10000000;
	uint64_t begin = now();

	call(costly, 0, 1, &cost);
	return (double)(now() - begin) / cost;
}

// Units with these relative costs.
static void with_costs(const char *workload, const std::vector<double> &costs, double serial_ns, bool backwards)
{
	double sum = 0, ns = ns_per_division();
	std::vector<uint32_t> divisions;

	for (double cost : costs)
		sum += cost;
	for (double cost : costs)
		divisions.push_back((uint32_t)(cost / sum * serial_ns / ns));
	measure(workload, costs.size(), costly, divisions.data(), backwards);
}

static void mandelbrot_set(double serial_ns, bool backwards)
{
	std::vector<uint16_t> pixels(32 * 512);
	picture p = { 32, 512, pixels.data() };
	uint64_t begin = now();

	call(mandelbrot, 0, p.height, &p);
	p.width = (size_t)std::max(1.0, 32 * serial_ns / (double)(now() - begin));
	pixels.resize(p.width * p.height);
	p.pixels = pixels.data();
	measure("mandelbrot", p.height, mandelbrot, &p, backwards);
}

int main(int argc, char **argv)
{
	bool backwards = argc > 1 && std::atoi(argv[1]) % 2;
	double ns = SERIAL_NS * (argc > 2 ? std::atof(argv[2]) : 1);
	std::mt19937_64 dice(1);
	std::uniform_real_distribution<double> exponent(0, 3);
	std::vector<double> triangle(2000), random(10000);

	for (size_t i = 0; i < triangle.size(); i++)
		triangle[i] = (double)(i + 1);
	for (double &cost : random)
		cost = std::pow(10, exponent(dice));

	parallel(1000000, 12500, divide, nullptr);
	with_costs("balanced", std::vector<double>(10000, 1), ns, backwards);
	with_costs("triangle", triangle, ns, backwards);
	mandelbrot_set(ns, backwards);
	with_costs("random", random, ns, backwards);
	with_costs("four", std::vector<double>(4, 1), ns, backwards);
	with_costs("tiny", std::vector<double>(1000000, 1), ns / 5, backwards);
}
