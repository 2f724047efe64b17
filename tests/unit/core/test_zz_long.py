"""The life of an endpoint against everything that can happen to it, in any order.

The invariants are asserted by the world as it carries effects out; here are the events, and the
proof that from wherever they lead, time alone leads back to work and to rest.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from activator.core.endpoint import Owner, ScalePolicy
from activator.core.lifecycle import State
from activator.core.orders import REFUSED
from tests.unit.core.lifecycle_world import NEVER, START_SECONDS, World

ONE = ScalePolicy(min=0, max=1, idle_timeout=10.0, start_timeout=20.0)
MANY = replace(ONE, max=4, target_concurrency=2.0, down_delay=5.0)
KEPT = replace(MANY, min=2)
EXTERNAL = replace(MANY, owner=Owner.EXTERNAL)
TIRELESS = replace(ONE, idle_timeout=0.0)
POLICIES = [ONE, MANY, KEPT, EXTERNAL, TIRELESS]


class Lives(RuleBasedStateMachine):
    first_policy = ONE
    world: World

    @initialize(
        restarts_by_itself=st.booleans(),
        lag=st.sampled_from([0.0, 0.02, 0.4]),
        starts=st.sampled_from(["ok", "ok", "exit", "hang"]),
    )
    def begin(self, restarts_by_itself: bool, lag: float, starts: str) -> None:
        self.world = World(
            self.first_policy, restarts_by_itself=restarts_by_itself, lag=lag, starts=starts
        )

    @rule(count=st.integers(1, 6))
    def requests_arrive(self, count: int) -> None:
        if self.world.life.refusal(now=self.world.now) is None:
            self.world.held += count
            self.world.look()

    @precondition(lambda self: self.world.answer_at < NEVER)
    @rule()
    def a_request_arrives_in_the_very_moment_of_stopping(self) -> None:
        world = self.world
        world.now = world.answer_at
        world.happen()
        world.held += 1
        world.look()

    @precondition(lambda self: self.world.in_flight)
    @rule(count=st.integers(1, 6))
    def requests_end(self, count: int) -> None:
        self.world.finish(count)
        self.world.look()

    @precondition(lambda self: self.world.held)
    @rule()
    def a_client_leaves(self) -> None:
        self.world.held -= 1
        self.world.look()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.7, 3.0, 9.0, 10.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(self.world.now + seconds)

    @precondition(lambda self: self.world.next_event() < NEVER)
    @rule()
    def the_next_thing_happens(self) -> None:
        self.world.advance(max(self.world.next_event(), self.world.now))

    @rule(how=st.sampled_from(["ok", "exit", "hang"]))
    def starts_go_differently_from_now_on(self, how: str) -> None:
        self.world.starts = how

    @rule(down=st.booleans())
    def the_driver_fails_or_works_again(self, down: bool) -> None:
        self.world.api_is_down = down

    @precondition(lambda self: self.world.replicas)
    @rule()
    def a_replica_crashes(self) -> None:
        self.world.end(next(iter(self.world.replicas.values())))
        self.world.look()

    @precondition(lambda self: self.world.ready)
    @rule(seconds=st.sampled_from([0.5, 30.0]))
    def a_replica_is_ejected_for_a_while(self, seconds: float) -> None:
        replica = next(each for each in self.world.replicas.values() if each.ready)
        replica.ready, replica.ready_at = False, self.world.now + seconds
        self.world.look()

    @precondition(lambda self: self.world.order is None and not self.world.taken)
    @rule(count=st.integers(0, 5))
    def somebody_else_scales(self, count: int) -> None:
        self.world.was_put_down |= count == 0
        self.world.scale(count)
        self.world.look()

    @rule()
    def an_operator_pauses(self) -> None:
        self.world.life.pause()
        self.world.look()

    @rule()
    def an_operator_resumes(self) -> None:
        self.world.life.resume()
        self.world.look()

    @rule()
    def an_operator_activates(self) -> None:
        self.world.forcing = False
        self.world.life.activate()
        self.world.look()

    @rule()
    def an_operator_deactivates(self) -> None:
        self.world.forcing = False
        self.world.was_put_down = True
        self.world.life.deactivate()
        self.world.look()

    @rule()
    def an_operator_forces_it_down(self) -> None:
        self.world.forcing = self.world.life.state is not State.INACTIVE
        self.world.was_put_down = True
        self.world.life.deactivate(force=True)
        self.world.look()

    @rule(policy=st.sampled_from(POLICIES))
    def the_configuration_changes(self, policy: ScalePolicy) -> None:
        self.world.policy = policy
        self.world.life.reconfigure(policy)
        self.world.look()

    @rule(leading=st.booleans())
    def leadership_moves(self, leading: bool) -> None:
        self.world.leading = leading
        self.world.look()

    def teardown(self) -> None:
        """Once all is well again, whoever waits is served, and then the endpoint comes to rest."""
        if not hasattr(self, "world") or self.world.is_broken:
            return
        world = self.world
        world.starts, world.api_is_down, world.leading = "ok", False, True
        world.life.resume()
        world.look()
        self.everything_ends()
        self.a_new_request_is_served()
        self.everything_ends()

    def everything_ends(self) -> None:
        world = self.world
        for _ in range(3000):
            if world.in_flight:
                world.finish(100)
                world.look()
                continue
            if not world.held and self.is_at_rest():
                return
            moment = world.next_event()
            assert moment < NEVER, f"wedged: {world.life.state}, {world.observation()}"
            world.advance(max(moment, world.now))
        raise AssertionError(f"no end: {world.life.state}, {world.observation()}")

    def is_at_rest(self) -> bool:
        world, policy = self.world, self.world.policy
        if world.order or world.taken or world.demand:
            return False
        match world.life.state:
            case State.INACTIVE | State.FAILED:
                return world.wanted == 0 and (policy.min == 0 or world.was_put_down)
            case State.ACTIVE:
                stays = policy.min > 0 or policy.idle_timeout == 0
                return stays and world.ready >= max(policy.min, 1)
            case _:
                return False

    def a_new_request_is_served(self) -> None:
        world = self.world
        refused = world.life.refusal(now=world.now)
        if refused is not None:
            world.advance(world.now + refused[1])
        begun = world.now
        world.held += 1
        world.look()
        for _ in range(200):
            if not world.held:
                break
            moment = world.next_event()
            assert moment < NEVER, f"wedged: {world.life.state}, {world.observation()}"
            world.advance(max(moment, world.now))
        assert world.in_flight == 1
        assert world.now - begun <= START_SECONDS + REFUSED.cap + 1.0


class LivesOfMany(Lives):
    first_policy = MANY


class LivesWithAMinimum(Lives):
    first_policy = KEPT


class LivesWithAnotherOwner(Lives):
    first_policy = EXTERNAL


ENOUGH = settings(
    max_examples=2500,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)

TestLives = Lives.TestCase
TestLives.settings = ENOUGH
TestLivesOfMany = LivesOfMany.TestCase
TestLivesOfMany.settings = ENOUGH
TestLivesWithAMinimum = LivesWithAMinimum.TestCase
TestLivesWithAMinimum.settings = ENOUGH
TestLivesWithAnotherOwner = LivesWithAnotherOwner.TestCase
TestLivesWithAnotherOwner.settings = ENOUGH
