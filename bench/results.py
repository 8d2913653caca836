# SPDX-License-Identifier: Apache-2.0
"""What was measured: runs, their medians, ratios, and the project's own criteria held against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

SLACK = 1.25
"""For noise: other load moves everything by a quarter between two runs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one peer over the whole fleet. CPU and memory are those of the peer's own processes."""

    peer: str
    hosts: int
    number: int
    """Round, from 1."""
    status: int
    wall_s: float
    """From the start of the process to its end."""
    cpu_s: float
    peak_rss_mib: float
    process_rss_mib: float
    """Largest single process."""
    processes: int
    lab_cpu_s: float | None = None
    """What the hosts, the CA and the DNS server used meanwhile."""
    failures: tuple[str, ...] = ()
    """Hosts that serve no new certificate afterwards; the run counts only when there are none."""

    @classmethod
    def of(cls, peer: str, hosts: int, number: int, measured: Mapping[str, float], failures: Sequence[str]) -> Run:
        """Build from the meter's report."""
        return cls(
            peer=peer,
            hosts=hosts,
            number=number,
            status=int(measured["status"]),
            wall_s=measured["wall_s"],
            cpu_s=measured["cpu_s"],
            peak_rss_mib=measured["peak_rss_kib"] / 1024,
            process_rss_mib=measured["process_rss_kib"] / 1024,
            processes=int(measured["processes"]),
            lab_cpu_s=measured.get("lab_cpu_s"),
            failures=tuple(failures),
        )

    @property
    def good(self) -> bool:
        """Whether the peer said that all is well, and it is."""
        return self.status == 0 and not self.failures


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians of a peer's good runs at one size of the fleet."""

    peer: str
    hosts: int
    runs: int
    failed: int
    wall_s: float
    hosts_per_s: float
    cpu_s: float
    cpu_ms_per_host: float
    lab_cpu_ms_per_host: float | None
    peak_rss_mib: float
    process_rss_mib: float
    processes: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """One demand of the project and what this run of the benchmark says about it."""

    demand: str
    limit: float
    value: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """``met``, ``met within slack``, ``not met`` or ``not measured``."""
        if self.value is None:
            return "not measured"
        factor = self.limit / self.value if self.at_least else self.value / self.limit
        if factor <= 1:
            return "met"
        return "met within slack" if factor <= SLACK else "not met"


Table = Mapping[tuple[int, str], Summary]


def summarize(runs: Iterable[Run]) -> dict[tuple[int, str], Summary]:
    """Medians by size and peer; nothing for a peer without a good run."""
    groups: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.hosts, run.peer), []).append(run)
    return {key: _summarize(group) for key, group in groups.items() if any(run.good for run in group)}


def _summarize(runs: Sequence[Run]) -> Summary:
    good = [run for run in runs if run.good]
    hosts, wall_s, cpu_s = runs[0].hosts, median(run.wall_s for run in good), median(run.cpu_s for run in good)
    lab_cpu_s = [run.lab_cpu_s for run in good if run.lab_cpu_s is not None]
    return Summary(
        peer=runs[0].peer,
        hosts=hosts,
        runs=len(runs),
        failed=len(runs) - len(good),
        wall_s=wall_s,
        hosts_per_s=hosts / wall_s,
        cpu_s=cpu_s,
        cpu_ms_per_host=1000 * cpu_s / hosts,
        lab_cpu_ms_per_host=1000 * median(lab_cpu_s) / hosts if lab_cpu_s else None,
        peak_rss_mib=median(run.peak_rss_mib for run in good),
        process_rss_mib=median(run.process_rss_mib for run in good),
        processes=median(run.processes for run in good),
    )


def judge(table: Table, *, sleeps: bool) -> list[Criterion]:
    """Hold the criteria against the medians. Each is about one size of the fleet; others say nothing about it."""
    fast: Table = {} if sleeps else table
    slow: Table = table if sleeps else {}
    return [*_judge_speed(fast), *_judge_growth(fast), *_judge_waiting(slow)]


def _judge_speed(table: Table) -> Iterator[Criterion]:
    yield Criterion("100 hosts: wall time, times the floor's", 1.6, _wall(table, 100, "ottr", "floor"))
    yield Criterion("100 hosts: orchestrator CPU, times the floor's", 2.5, _cpu(table, 100, "ottr", "floor"))
    for peer, factor in (("ansible", 30), ("certbot", 6), ("lego", 2)):
        value = _wall(table, 100, peer, "ottr")
        yield Criterion(f"100 hosts: hosts per second, times those of {peer}", factor, value, at_least=True)
    yield Criterion("1 host, inventory read: wall time, times the floor's", 2.5, _wall(table, 1, "ottr", "floor"))


def _judge_growth(table: Table) -> Iterator[Criterion]:
    large = table.get((200, "ottr"))
    yield Criterion("200 hosts: peak memory in MiB", 150, large.peak_rss_mib if large else None)
    small, huge = table.get((100, "ottr")), table.get((1000, "ottr"))
    value = small.hosts_per_s / huge.hosts_per_s if small and huge else None
    yield Criterion("1000 hosts: wall time a host, times that of 100", 1.25, value)


def _judge_waiting(table: Table) -> Iterator[Criterion]:
    value = _wall(table, 50, "ottr", "floor")
    yield Criterion("50 hosts, Pebble's own sleeps: wall time, times the floor's (64 threads)", 1.4, value)


def _wall(table: Table, hosts: int, peer: str, base: str) -> float | None:
    one, other = table.get((hosts, peer)), table.get((hosts, base))
    return one.wall_s / other.wall_s if one and other else None


def _cpu(table: Table, hosts: int, peer: str, base: str) -> float | None:
    one, other = table.get((hosts, peer)), table.get((hosts, base))
    return one.cpu_s / other.cpu_s if one and other else None
