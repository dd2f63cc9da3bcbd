"""zeus itself above a simulated NVML: the driver's functions are replaced, zeus and NVML's error classes are real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from neurotarget.hardware.meters.sensors import open_nvml

from tests.hardware.metered import Device, measured, reason_of

pytest.importorskip("zeus", reason="zeus is not installed (extra 'dev' or 'meter')")

import pynvml


@pytest.fixture(autouse=True)
def without_zeus_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZEUSD_SOCK_PATH", "ZEUSD_HOST_PORT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Nvml:
    """A driver with one GPU. `faults` maps a function's name to the NVML error code that it answers with."""

    name: str = "NVIDIA A100-SXM4-80GB"
    architecture: int = pynvml.NVML_DEVICE_ARCH_AMPERE
    millijoules: float = 123_456_789.0
    devices: int = 1
    open: bool = False

    def __post_init__(self) -> None:
        self.faults: dict[str, int] = {}

    def advance(self, joules: float) -> None:
        self.millijoules += joules * 1e3

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(function: str, answer: Any, needs_init: bool = True) -> None:
            def call(*arguments: Any) -> Any:
                if function in self.faults:
                    raise pynvml.NVMLError(self.faults[function])
                if needs_init and not self.open:
                    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
                return answer(*arguments)

            monkeypatch.setattr(pynvml, function, call)

        def switch(to: bool) -> None:
            self.open = to

        def unsupported(*_: Any) -> None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

        replace("nvmlInit", lambda: switch(True), needs_init=False)
        replace("nvmlShutdown", lambda: switch(False))
        replace("nvmlDeviceGetCount", lambda: self.devices)
        replace("nvmlDeviceGetHandleByIndex", lambda index: index)
        replace("nvmlDeviceGetName", lambda handle: self.name)
        replace("nvmlDeviceGetArchitecture", lambda handle: self.architecture)
        replace("nvmlDeviceGetC2cModeInfoV", unsupported)
        replace("nvmlDeviceGetTotalEnergyConsumption", lambda handle: int(self.millijoules))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "NVIDIA A100-SXM4-80GB")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    driver = Nvml()
    driver.install(monkeypatch)
    return driver


def test_nvml_measures(nvml: Nvml) -> None:
    result = measured({"NVML": open_nvml}, Device(nvml.advance))
    assert result.available and result.source == "NVML through zeus"
    assert result.device == "NVIDIA A100-SXM4-80GB" and result.domains == ("GPU 0",)
    assert result.idle_watts == pytest.approx(20, rel=1e-4)
    assert result.batch_1.total_uj == pytest.approx(7.0e6, rel=1e-4)
    assert result.batch_1.dynamic_uj == pytest.approx(5.0e6, rel=1e-4)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "ZeusGPUDriverNotLoadedError: Driver Not Loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "ZeusGPUNoPermissionError: Insufficient Permissions"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "ZeusGPULibraryNotFoundError: NVML Shared Library Not Found"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "ZeusGPULibRMVersionMismatchError"),
        (pynvml.NVML_ERROR_UNKNOWN, "ZeusGPUUnknownError: Unknown Error"),
    ],
)
def test_a_driver_that_does_not_open_is_a_reason(nvml: Nvml, code: int, words: str) -> None:
    nvml.faults["nvmlInit"] = code
    reason = reason_of(open_nvml, Device(nvml.advance))
    assert reason.startswith("NVML cannot be used: ") and words in reason


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, "ZeusGPUNotSupportedError: Not Supported"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "ZeusGPUNoPermissionError: Insufficient Permissions"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "ZeusGPULostError: GPU is lost"),
    ],
)
@pytest.mark.parametrize("after_batches", [0, 100])
def test_a_counter_that_refuses_is_a_reason(nvml: Nvml, code: int, words: str, after_batches: int) -> None:
    device = Device(nvml.advance)
    advance = device.advance

    def advance_and_fail(joules: float) -> None:
        advance(joules)
        if device.batches >= after_batches:
            nvml.faults["nvmlDeviceGetTotalEnergyConsumption"] = code

    device.advance = advance_and_fail
    reason = reason_of(open_nvml, device)
    assert reason == f"NVML through zeus: the counter cannot be read: {words}"


def test_before_volta_there_is_no_counter(nvml: Nvml) -> None:
    nvml.architecture = pynvml.NVML_DEVICE_ARCH_PASCAL
    assert "has no energy counter: NVML has one from the Volta generation on" in reason_of(open_nvml, Device(print))


def test_no_gpu_and_another_gpu(nvml: Nvml) -> None:
    nvml.name = "NVIDIA T400"
    expected = (
        "CUDA's first device is NVIDIA A100-SXM4-80GB and NVML's is NVIDIA T400; set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )
    assert reason_of(open_nvml, Device(print)) == expected
    nvml.devices = 0
    assert reason_of(open_nvml, Device(print)) == "NVML sees no GPU"


def test_a_slice_of_a_gpu_has_no_counter(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert "MIG" in reason_of(open_nvml, Device(print))


def test_a_driver_reloaded_or_frozen_is_a_reason(nvml: Nvml) -> None:
    assert "GPU 0: the counter stood still" in reason_of(open_nvml, Device(lambda joules: None))
    device = Device(nvml.advance)

    def reset(joules: float) -> None:
        nvml.millijoules = 0.0 if device.batches == 185 else nvml.millijoules + joules * 1e3

    device.advance = reset
    assert "it was reset or is faulty" in reason_of(open_nvml, device)
