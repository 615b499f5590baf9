"""Finds out how the trial of a new device stands, from what the archive itself has seen since it began.

Nobody can say of a step that it worked: what was seen says so (`evidence`), or the step is open. What the archive can
do itself (call the device, send it an image) it does when asked, and sees how that went.
"""

from __future__ import annotations

import dataclasses

from hozi.core.errors import NotThere, Refused
from hozi.doors.dimse import evidence, phantom
from hozi.doors.dimse import liveness as calls
from hozi.facilities import acceptance
from hozi.facilities.acceptance import Trial
from hozi.facilities.devices import Permit


def look(number: int) -> Trial:
    """How the trial stands now; what has passed is kept. Raises NotThere."""
    trial = acceptance.get(number)
    device = acceptance.device_of(trial)
    if not trial.open or device is None:
        return trial
    if trial.identity != acceptance.identity(device):
        trial = acceptance.keep(number, device, ())
    seen = {step.key: step if step.done else evidence.look_at(step.key, trial.since, device) for step in trial.steps}
    kept = acceptance.keep(number, device, tuple(seen.values()))
    return dataclasses.replace(kept, steps=tuple(step if step.done else seen[step.key] for step in kept.steps))


def call(number: int) -> Trial:
    """Calls the device now, and says how the trial stands then. Raises NotThere, Refused."""
    calls.echo_now(_device(number))
    return look(number)


def send(number: int, *, actor: str) -> Trial:
    """Sends the device a test image, and says how the trial stands then. Raises NotThere, Refused."""
    phantom.send(_device(number), actor=actor)
    return look(number)


def sign(
    number: int, *, version: int, remark: str = "", signer: str = "", actor: str, address: str = ""
) -> Trial:  # fmt: skip
    """Accepts the device, with the steps as they stand now. Raises what `acceptance.sign` does."""
    device = _device(number)
    steps = look(number).steps
    return acceptance.sign(
        number, device, steps, version=version, remark=remark, signer=signer, actor=actor, address=address
    )


def _device(number: int) -> Permit:
    trial = acceptance.get(number)
    device = acceptance.device_of(trial)
    if device is None:
        raise NotThere(f"{trial.name} was removed")
    if not trial.open:
        raise Refused(f"The trial of {trial.name} is over: begin a new one")
    return device
