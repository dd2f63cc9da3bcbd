"""The energy counters of this machine, read through zeus: NVML for a GPU, INA3221 for a Jetson, RAPL for a processor.

Every counter is cumulative: the energy of a window is the difference of two readings. `open_*` gives a sensor or raises
`MeterError` with the reason and, where there is one, the remedy.
"""

from __future__ import annotations

import importlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.errors import UserError

# Where zeus looks: the kernel's tree, and where its container mounts that.
POWERCAP = (Path("/sys/class/powercap/intel-rapl"), Path("/zeus_sys/class/powercap/intel-rapl"))
TEGRA = (Path("/etc/nv_tegra_release"), Path("/usr/lib/aarch64-linux-gnu/tegra"))
# More than any one counter's device draws (a two-chip GPU module takes 2.7 kW): a difference above it is a fault.
PLAUSIBLE_WATTS = 3000.0


class MeterError(UserError, RuntimeError):
    """There is no usable meter: no device, no library, missing rights, a driver's fault, a counter that misbehaves."""


@dataclass(frozen=True)
class Domain:
    """What one counter covers.

    Attributes:
        range_joules: where it starts again from zero; None for a counter too wide to wrap.
    """

    name: str
    range_joules: float | None = None


@dataclass(frozen=True)
class Sensor:
    """The counters of one device.

    Attributes:
        source: what was read, and through what.
        device: what computes the network.
        torch_device: PyTorch's name of it.
        includes: what else the counters cover, and what they leave out.
        read_joules: a cumulative reading per domain, in joule since an arbitrary start.
    """

    source: str
    device: str
    torch_device: str
    includes: str
    domains: tuple[Domain, ...]
    read_joules: Callable[[], Sequence[float]]

    def read(self) -> tuple[float, ...]:
        """A reading per domain, in joule.

        Raises:
            MeterError: the counter has gone.
        """
        with _faults(f"{self.source}: the counter cannot be read"):
            return tuple(float(joules) for joules in self.read_joules())

    def spent(self, before: Sequence[float], after: Sequence[float], seconds: float) -> float:
        """Joule between two readings, summed over the domains.

        A difference is taken modulo the counter's range, which is exact as long as the window is too short for two
        wraps. That holds whether or not zeus has counted a wrap yet: its readings differ from the counter by whole
        ranges, but it looks for wraps only once a second, so a wrap just before a reading would be missed.

        Raises:
            MeterError: a counter stood still, or moved by more than any device takes.
        """
        total = 0.0
        for domain, start, end in zip(self.domains, before, after, strict=True):
            joules, most = end - start, PLAUSIBLE_WATTS * seconds
            where = f"{self.source}, {domain.name}"
            if joules == 0:
                raise MeterError(f"{where}: the counter stood still for {seconds:.1f} s")
            if domain.range_joules is not None:
                if domain.range_joules <= most:
                    raise MeterError(
                        f"{where}: the counter wraps at {domain.range_joules:.0f} J, which a window of {seconds:.1f} s "
                        "may exceed; measure a smaller network or fewer steps"
                    )
                joules %= domain.range_joules
            if not 0 < joules <= most:
                raise MeterError(
                    f"{where}: the counter moved by {end - start:.6g} J in {seconds:.1f} s; it was reset or is faulty"
                )
            total += joules
        return total


# ---- one function per meter ------------------------------------------------------------------------------------------


def open_nvml() -> Sensor:
    """The first CUDA device, through NVML's total energy counter (Volta and newer; refreshed every 20 to 100 ms)."""
    import torch

    if not torch.cuda.is_available():
        raise MeterError("PyTorch sees no CUDA device")
    nvidia = _zeus("gpu.nvidia")
    with _faults("NVML cannot be used"):
        gpus = nvidia.NVIDIAGPUs()  # shuts NVML down when it is collected: the sensor's reading keeps it
        if not len(gpus):
            raise MeterError("NVML sees no GPU")
        name = gpus.get_name(0)
        supported = gpus.supports_get_total_energy_consumption(0)
    if not supported:
        raise MeterError(f"{name} has no energy counter: NVML has one from the Volta generation on")
    if name != torch.cuda.get_device_name(0):
        # CUDA puts the fastest first, NVML orders by slot: then the counter is that of another device.
        raise MeterError(
            f"CUDA's first device is {torch.cuda.get_device_name(0)} and NVML's is {name}; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    return Sensor(
        source="NVML through zeus",
        device=name,
        torch_device="cuda:0",
        includes="the GPU with its memory; the host's processor and memory are not included",
        domains=(Domain("GPU 0"),),
        read_joules=lambda: (gpus.get_total_energy_consumption(0) / 1e3,),
    )


def open_jetson() -> Sensor:
    """A Jetson module, whose power sensor zeus samples ten times a second and integrates."""
    import torch

    if not any(path.exists() for path in TEGRA):
        raise MeterError("this machine is not a Jetson")
    jetson = _zeus("soc.jetson")
    with _faults("the power sensor cannot be used"):
        soc = jetson.Jetson()
        first = _sampled(soc)
    fields = [field for field in ("total", "cpu", "gpu") if getattr(first, f"{field}_energy_mj") is not None]
    if "total" in fields:
        fields = ["total"]  # it counts the other rails again
    if not fields:
        raise MeterError("the power sensor (INA3221) shows no rail that zeus knows")

    def read() -> tuple[float, ...]:
        now = _sampled(soc)
        return tuple(getattr(now, f"{field}_energy_mj") / 1e3 for field in fields)

    rails = "the whole module" if fields == ["total"] else f"the rails {' and '.join(fields)} only, not the module"
    return Sensor(
        source="INA3221 through zeus",
        device="Jetson",
        torch_device="cuda:0" if torch.cuda.is_available() else "cpu",
        includes=f"{rails}, other programs too; power is sampled ten times a second and integrated",
        domains=tuple(Domain(f"rail {field}") for field in fields),
        read_joules=read,
    )


def open_rapl() -> Sensor:
    """The processor's packages, and their DRAM where it has a counter, through the kernel's powercap tree."""
    tree = next((path for path in POWERCAP if path.exists()), None)
    if tree is None:
        raise MeterError(
            f"{POWERCAP[0]} does not exist: a processor without RAPL, a virtual machine, or the kernel module "
            "intel_rapl_common is not loaded"
        )
    rapl = _zeus("cpu.rapl")
    try:
        with _faults("the powercap tree cannot be used"):
            cpus = rapl.RAPLCPUs()
            packages, domains = _packages(cpus)
    except MeterError as error:
        if isinstance(error.__cause__, PermissionError | rapl.cpu_common.ZeusCPUNoPermissionError):
            raise MeterError(
                "no right to read energy_uj, which only root may; run as root, or let everyone read it: "
                f"sudo chmod -R a+r {tree}/"
            ) from error
        raise
    if not packages:
        raise MeterError("the powercap tree has no package zone")

    def read() -> list[float]:
        readings = []
        for package in packages:
            now = cpus.get_total_energy_consumption(package)
            readings += [now.cpu_mj / 1e3] if now.dram_mj is None else [now.cpu_mj / 1e3, now.dram_mj / 1e3]
        return readings

    memory = "with" if len(domains) > len(packages) else "without"
    return Sensor(
        source="RAPL through zeus",
        device=processor(),
        torch_device="cpu",
        includes=f"{', '.join(domain.name for domain in domains)}: whole packages {memory} DRAM, other programs too",
        domains=tuple(domains),
        read_joules=read,
    )


SENSORS: Mapping[str, Callable[[], Sensor]] = {"NVML": open_nvml, "Jetson": open_jetson, "RAPL": open_rapl}


# ---- parts -----------------------------------------------------------------------------------------------------------


def _sampled(soc: Any) -> Any:
    """What zeus's sampling process has integrated so far; it dies when a file of the sensor does."""
    try:
        return soc.get_total_energy_consumption()
    except queue.Empty:
        raise TimeoutError("zeus's sampling process does not answer") from None


def _packages(cpus: Any) -> tuple[list[int], list[Domain]]:
    """Indices of zeus's zones that are packages, and the domains that their readings hold, in order.

    The zone `psys`, which laptops have, is the whole platform and counts the package again.
    """
    packages, domains = [], []
    for index, cpu in enumerate(cpus.cpus):
        zone = Path(cpus.rapl_dir) / f"intel-rapl:{cpu.cpu_index}"
        name = _text(zone / "name")
        if not name.startswith("package"):
            continue
        packages.append(index)
        domains.append(_domain(zone, name))
        if cpu.supports_get_dram_energy_consumption():
            dram = next(child for child in zone.glob("intel-rapl:*") if _text(child / "name") == "dram")
            domains.append(_domain(dram, f"{name} DRAM"))
    return packages, domains


def _domain(zone: Path, name: str) -> Domain:
    return Domain(name, float(_text(zone / "max_energy_range_uj")) / 1e6)


def _text(path: Path) -> str:
    return path.read_text().strip()


def processor() -> str:
    """The processor's name, where Linux says it."""
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "processor of unknown name"


def _zeus(module: str) -> Any:
    try:
        return importlib.import_module(f"zeus.device.{module}")
    except ImportError as error:
        raise MeterError(f"zeus cannot be imported ({error}); pip install 'neurotarget[meter]'") from error


@contextmanager
def _faults(what: str) -> Iterator[None]:
    """Any fault as a `MeterError`: zeus, NVML and the kernel report theirs through dozens of classes."""
    try:
        yield
    except MeterError:
        raise
    except Exception as error:
        words = str(error).partition("\n")[0]
        raise MeterError(f"{what}: {type(error).__name__}: {words}") from error
