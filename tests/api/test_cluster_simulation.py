"""The simulation of a cluster against queueing theory, and by what must hold of any cluster."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling.bench.cluster.simulation import Load, Outcome, Scenario, simulate
from nestling.errors import ArgumentError

pytest.importorskip("simpy")
pytestmark = pytest.mark.slow

# The quantiles of an exponential distribution of mean 1, in the middles of 20,000 equal shares.
EXPONENTIAL = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
SECOND = np.ones(1)
ALONE = Scenario(service=EXPONENTIAL, shards=1, turn_seconds=math.inf, hedge_share=0)


def erlang_c(servers: int, offered: float) -> float:
    """The share of arrivals that wait in M/M/c (Erlang 1917)."""
    terms = [offered**n / math.factorial(n) for n in range(servers)]
    waiting = offered**servers / math.factorial(servers) / (1 - offered / servers)
    return waiting / (sum(terms) + waiting)


@pytest.mark.parametrize(("servers", "rate"), [(1, 0.5), (2, 1.4), (4, 2.8)])
def test_queries_wait_as_long_as_in_a_queue_of_several_servers(servers: int, rate: float) -> None:
    outcome = simulate(replace(ALONE, cores=servers), Load(queries=12_000, rate=rate))
    waiting = erlang_c(servers, rate) / (servers - rate)
    assert outcome.latencies.mean() - 1 == pytest.approx(waiting, rel=0.12)
    assert outcome.core_use == pytest.approx(rate / servers, rel=0.04)
    np.testing.assert_array_equal(outcome.coverage, 1)


def test_queries_wait_by_pollaczek_and_khinchine_whatever_the_service_is() -> None:
    service = np.array([0.2] * 9 + [2.0])
    rate = 1.5
    outcome = simulate(replace(ALONE, service=service), Load(queries=12_000, rate=rate))
    waiting = rate * (service**2).mean() / (2 * (1 - rate * service.mean()))
    assert outcome.latencies.mean() - service.mean() == pytest.approx(waiting, rel=0.12)


def test_cores_given_in_short_turns_are_a_shared_processor() -> None:
    """Of M/G/1 with processor sharing, the mean depends on the mean service alone."""
    service = np.array([0.2] * 9 + [2.0])
    rate = 1.5
    scenario = replace(ALONE, service=service, turn_seconds=0.05)
    outcome = simulate(scenario, Load(queries=8_000, rate=rate))
    mean = service.mean() / (1 - rate * service.mean())
    assert outcome.latencies.mean() == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize("shards", [2, 8, 64])
def test_the_slowest_of_many_shards_takes_a_harmonic_number(shards: int) -> None:
    scenario = replace(ALONE, shards=shards, cores=shards)
    outcome = simulate(scenario, Load(queries=2_000 if shards < 64 else 500))
    assert outcome.latencies.mean() == pytest.approx(
        sum(1 / n for n in range(1, shards + 1)), rel=0.04
    )
    median = -math.log(1 - 0.5 ** (1 / shards))  # P(max <= t) = (1 - exp(-t)) ** shards
    assert outcome.percentile(50) == pytest.approx(median, rel=0.05)
    np.testing.assert_allclose(outcome.slowest, outcome.latencies)


def test_a_second_request_cuts_the_tail_as_calculated() -> None:
    """min(X, h + Y) of exponentials has the mean 1 - exp(-h) / 2."""
    after = 1.0
    scenario = replace(
        ALONE, replicas=2, nodes=2, cores=2, hedge_quantile=None, hedge_seconds=after, hedge_share=1
    )
    outcome = simulate(scenario, Load(queries=6_000))
    assert outcome.latencies.mean() == pytest.approx(1 - math.exp(-after) / 2, rel=0.03)
    assert outcome.second_requests == pytest.approx(math.exp(-after), rel=0.05)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_coverage_is_the_availability_of_independent_replicas(replicas: int) -> None:
    scenario = Scenario(
        service=np.array([1e-3]),
        shards=6,
        replicas=replicas,
        nodes=6,
        failure_seconds=70.0,
        restart_seconds=30.0,
    )
    outcome = simulate(scenario, Load(queries=3_000, rate=0.05))
    assert outcome.coverage.mean() == pytest.approx(1 - 0.3**replicas, abs=0.02)


def test_a_coordinator_sends_one_request_after_the_other() -> None:
    scenario = Scenario(
        service=SECOND,
        shards=4,
        cores=4,
        turn_seconds=math.inf,
        query_seconds=0.5,
        call_seconds=0.1,
        serve_seconds=0.01,
        network_seconds=0.02,
        hedge_share=0,
    )
    outcome = simulate(scenario, Load(queries=2))
    np.testing.assert_allclose(outcome.latencies, 0.5 + 4 * 0.1 + 2 * 0.02 + 1.01)
    np.testing.assert_allclose(outcome.slowest, 1)
    crowded = simulate(replace(scenario, cores=1, shared=True), Load(queries=2))
    np.testing.assert_allclose(crowded.latencies, 0.5 + 0.4 + 4 * 1.01 + 0.02, atol=0.05)


def test_late_shards_are_left_out_at_the_deadline() -> None:
    scenario = Scenario(
        service=SECOND, shards=4, cores=1, turn_seconds=math.inf, deadline=2.5, hedge_share=0
    )
    outcome = simulate(scenario, Load(queries=1))
    assert (outcome.latencies[0], outcome.coverage[0]) == (2.5, 0.5)


@pytest.mark.parametrize(("cores", "seconds"), [(1, 8), (2, 4), (16, 1)])
def test_shards_of_one_actor_are_searched_side_by_side_for_one_request(
    cores: int, seconds: float
) -> None:
    scenario = Scenario(
        service=SECOND,
        shards=8,
        together=8,
        cores=cores,
        call_seconds=0.25,
        serve_seconds=0.5,
        turn_seconds=math.inf,
        hedge_share=0,
    )
    outcome = simulate(scenario, Load(queries=3))
    np.testing.assert_allclose(outcome.latencies, 0.75 + seconds)
    np.testing.assert_allclose(outcome.slowest, seconds)


def test_an_actor_that_is_late_leaves_out_all_of_its_shards() -> None:
    scenario = Scenario(
        service=SECOND,
        shards=5,
        together=3,
        turn_seconds=math.inf,
        deadline=3.5,
        hedge_share=0,
    )
    np.testing.assert_allclose(simulate(scenario, Load(queries=1)).coverage, 3 / 5)


def test_a_request_on_a_failing_node_goes_to_the_next_replica() -> None:
    scenario = Scenario(
        service=np.array([10.0]),
        shards=1,
        replicas=2,
        nodes=2,
        turn_seconds=math.inf,
        failure_seconds=100.0,
        restart_seconds=1.0,
        detect_seconds=2.0,
        hedge_share=0,
    )
    outcome = simulate(scenario, Load(queries=500))
    assert outcome.percentile(50) == 10
    failed = outcome.latencies > 10.001
    assert 0.05 < failed.mean() < 0.2  # 1 - exp(-10 / 100) and those that fail twice
    assert (outcome.latencies[failed & (outcome.coverage == 1)] > 12).all()
    assert (outcome.coverage == 1).mean() > 0.97


scenarios = st.builds(
    Scenario,
    service=st.sampled_from([SECOND / 100, EXPONENTIAL / 100, np.array([0.005, 0.005, 0.2])]),
    shards=st.integers(1, 6),
    together=st.integers(1, 3),
    replicas=st.integers(1, 2),
    nodes=st.integers(3, 5),
    cores=st.integers(1, 3),
    shared=st.booleans(),
    call_seconds=st.sampled_from([0.0, 1e-3]),
    network_seconds=st.sampled_from([0.0, 1e-3]),
    straggler_share=st.sampled_from([0.0, 0.05]),
    straggler_seconds=st.just(0.5),
    deadline=st.sampled_from([None, 0.1, 5.0]),
    failure_seconds=st.sampled_from([math.inf, 50.0]),
    restart_seconds=st.just(5.0),
)
seeds = st.integers(0, 1000)


def same(one: Outcome, other: Outcome) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("latencies", "slowest", "coverage", "second_requests", "core_use")
    )


@settings(max_examples=12, deadline=None)
@given(scenario=scenarios, seed=seeds, rate=st.sampled_from([None, 2.0, 20.0]))
def test_every_outcome_is_possible_and_the_same_for_the_same_seed(
    scenario: Scenario, seed: int, rate: float | None
) -> None:
    load = Load(queries=60, rate=rate, clients=3, seed=seed)
    outcome = simulate(scenario, load)
    assert same(outcome, simulate(scenario, load))
    assert ((outcome.coverage >= 0) & (outcome.coverage <= 1)).all()
    if scenario.deadline is None and scenario.failure_seconds == math.inf:
        np.testing.assert_array_equal(outcome.coverage, 1)
        assert (outcome.latencies >= outcome.slowest - 1e-9).all()
    if scenario.deadline is not None:
        assert (outcome.latencies <= scenario.deadline + 1e-9).all() or scenario.call_seconds
    assert outcome.core_use <= 1 + 1e-9


@settings(max_examples=12, deadline=None)
@given(scenario=scenarios, seed=seeds)
def test_more_replicas_never_lower_the_coverage(scenario: Scenario, seed: int) -> None:
    """Under the same failures, at a low load, without second requests that take cores."""
    load = Load(queries=100, rate=0.5, seed=seed)
    scenario = replace(scenario, deadline=None, hedge_share=0, straggler_share=0)
    one, two = (simulate(replace(scenario, replicas=count), load) for count in (1, 2))
    assert two.coverage.mean() >= one.coverage.mean()
    three = simulate(replace(scenario, replicas=3), load)
    assert three.coverage.mean() >= two.coverage.mean()


def test_impossible_scenarios_are_refused() -> None:
    with pytest.raises(ArgumentError, match="3 replicas need as many nodes, not 2"):
        Scenario(service=SECOND, shards=1, replicas=3, nodes=2)
    with pytest.raises(ArgumentError, match="shards must be at least 1"):
        Scenario(service=SECOND, shards=0)
    with pytest.raises(ArgumentError, match="together"):
        Scenario(service=SECOND, shards=1, together=0)
    with pytest.raises(ArgumentError, match="measured seconds"):
        Scenario(service=np.empty(0), shards=1)
    with pytest.raises(ArgumentError, match="hedge_share must be 0 to 1"):
        Scenario(service=SECOND, shards=1, hedge_share=2)
    with pytest.raises(ArgumentError, match="above 0"):
        Scenario(service=SECOND, shards=1, turn_seconds=0)
    with pytest.raises(ArgumentError, match="rate above 0"):
        Load(queries=1, rate=0)
