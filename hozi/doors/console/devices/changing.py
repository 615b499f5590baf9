"""Adds, changes and removes devices."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from hozi.accounts import authorise
from hozi.accounts.authorise import Scope, Who
from hozi.core.errors import Changed, NotThere, Refused
from hozi.doors.console import acts
from hozi.doors.console.access import Request, page
from hozi.doors.console.forms import Form
from hozi.facilities import departments, devices, places
from hozi.facilities.devices import MAY, Permit
from hozi.facilities.models import Knock
from hozi.facilities.suggest import Suggestion

MODALITIES: Final = (
    ("", "–"),
    *((code, f"{code} – {name}") for code, name in (
        ("CT", gettext_lazy("computed tomography")),
        ("MR", gettext_lazy("magnetic resonance")),
        ("US", gettext_lazy("ultrasound")),
        ("CR", gettext_lazy("X-ray, cassettes")),
        ("DX", gettext_lazy("X-ray, digital")),
        ("MG", gettext_lazy("mammography")),
        ("XA", gettext_lazy("angiography")),
        ("RF", gettext_lazy("fluoroscopy")),
        ("NM", gettext_lazy("nuclear medicine")),
        ("PT", gettext_lazy("positron emission")),
        ("PX", gettext_lazy("panoramic X-ray")),
        ("IO", gettext_lazy("intra-oral X-ray")),
        ("ES", gettext_lazy("endoscopy")),
        ("ECG", gettext_lazy("electrocardiography")),
        ("OP", gettext_lazy("eye photography")),
        ("SM", gettext_lazy("slide microscopy")),
        ("OT", gettext_lazy("other")),
    )),
)  # fmt: skip

WORDS: Final = (
    ("store", gettext_lazy("store: send images to the archive")),
    ("query", gettext_lazy("query: search what there is")),
    ("retrieve", gettext_lazy("retrieve: fetch images, or have them sent")),
    ("receive", gettext_lazy("receive: be sent images (needs a port)")),
)


class _Description(Form):
    """What can be said of a device."""

    ae_title = forms.CharField(label=gettext_lazy("AE title"), max_length=64)
    host = forms.CharField(
        label=gettext_lazy("Address or network"),
        max_length=64,
        help_text=gettext_lazy("From which it calls: 192.168.1.20, or 192.168.1.0/24 for several."),
    )
    port = forms.IntegerField(
        label=gettext_lazy("Port"),
        required=False,
        help_text=gettext_lazy("At which it listens, to call it and to send it images. Scanners often use 104."),
    )
    may = forms.MultipleChoiceField(
        label=gettext_lazy("What it may do"), choices=WORDS, required=False, widget=forms.CheckboxSelectMultiple
    )
    facility = forms.ChoiceField(label=gettext_lazy("Facility"))
    department = forms.ChoiceField(label=gettext_lazy("Department"), required=False)
    modality = forms.ChoiceField(label=gettext_lazy("What images it makes"), choices=MODALITIES, required=False)
    called_as = forms.CharField(
        label=gettext_lazy("Another name by which it calls this archive"), max_length=64, required=False
    )
    tls = forms.BooleanField(label=gettext_lazy("Call it over TLS"), required=False)
    tls_subject = forms.CharField(
        label=gettext_lazy("Subject that its certificate must have"), max_length=300, required=False
    )
    username = forms.CharField(label=gettext_lazy("User name that it must present"), max_length=200, required=False)
    passcode = forms.CharField(
        label=gettext_lazy("Passcode to it"),
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("Only a hash is kept. Left empty, it stays as it is."),
    )
    sees_all = forms.BooleanField(label=gettext_lazy("It may see every facility's studies"), required=False)

    main: tuple[str, ...] = ("ae_title", "host", "port", "may", "facility", "department", "modality")
    rest: tuple[str, ...] = ("called_as", "tls", "tls_subject", "username", "passcode", "sees_all")

    def __init__(self, who: Who, data: Any = None, *, initial: dict[str, Any], **more: Any) -> None:
        super().__init__(data, initial=initial, **more)
        codes = authorise.facilities(who, "devices.change")
        known = places.listed(codes)
        choices = [(place.code, f"{place.name} ({place.code})") for place in known]
        self._choose("facility", choices if len(choices) == 1 else [("", "–"), *choices])
        parts = [(place, departments.listed(place.code)) for place in known]
        grouped = [(place.name, [(f"{place.code}/{part.code}", part.name) for part in some]) for place, some in parts]
        self._choose("department", [("", "–"), *(group for group in grouped if group[1])])
        modality = str(initial.get("modality", ""))
        if modality not in dict(MODALITIES):
            self._choose("modality", [*MODALITIES, (modality, modality)])
        if not authorise.covers(who, "devices.change", Scope()):
            del self.fields["sees_all"]

    def _choose(self, name: str, choices: Any) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        """The department as its code; it must be one of the facility's."""
        told = super().clean() or self.cleaned_data
        facility, _slash, department = str(told.get("department", "")).partition("/")
        if department and facility != told.get("facility"):
            self.add_error("department", _("That is a department of another facility."))
        told["department"] = department
        return told

    def main_fields(self) -> list[forms.BoundField]:
        """The fields that every device needs."""
        return [self[name] for name in ("name", *self.main) if name in self.fields]

    def rest_fields(self) -> list[forms.BoundField]:
        """The others."""
        return [self[name] for name in self.rest if name in self.fields]

    def rest_open(self) -> bool:
        """Whether the others are to be seen at once: something stands in them, or is wrong with them."""
        return any(self.errors.get(name) or self[name].value() for name in self.rest if name in self.fields)


class Addition(_Description):
    """A new device."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, help_text=gettext_lazy("What people call it. It stays for good.")
    )


class Admission(_Description):
    """A new device that knocked: AE title, address and certificate are those with which it called."""

    name = Addition.base_fields["name"]
    main = ("port", "may", "facility", "department", "modality")
    rest = ("tls", "sees_all")

    def __init__(self, who: Who, new: Suggestion | None, data: Any = None) -> None:
        initial = {} if new is None else {
            "name": new.name, "may": list(new.may), "facility": new.facility, "modality": new.modality,
        }  # fmt: skip
        super().__init__(who, data, initial=initial)
        for name in ("ae_title", "host", "called_as", "tls_subject", "username", "passcode"):
            del self.fields[name]

    def admit(self, knock: Knock, own_ae: str, who: Who, **told: Any) -> Permit:
        """Admits the knock with what was typed."""
        reached(who, told["facility"])
        return devices.admit(knock, own_ae=own_ae, actor=who.actor, address=who.address, **told)


class Change(_Description):
    """What is said of a device that is there."""

    version = forms.IntegerField(widget=forms.HiddenInput)


@page("devices.change", post="devices.change")
def add(request: Request) -> HttpResponse:
    """A new device, by hand."""
    form = Addition(request.who, request.POST or None, initial={"may": list(MAY[:3])})
    if request.method == "POST":
        permit = form.take(_add, who=request.who)
        if permit is not None:
            text = _("%(name)s is admitted. Now try it, step by step.") % {"name": permit.name}
            return acts.done(request, text, "device", permit.number)
    return render(request, "console/devices/add.html", {"place": "devices", "form": form})


@page("devices.change", post="devices.change")
def change(request: Request, number: int) -> HttpResponse:
    """What is said of a device is changed."""
    permit = _mine(request.who, number)
    form = Change(request.who, request.POST or None, initial=_initial(permit))
    changed_meanwhile = False
    if request.method == "POST":
        try:
            changed = form.take(_change, who=request.who, permit=permit)
        except Changed:
            changed = None
        if changed is not None:
            return acts.done(request, _("%(name)s is changed.") % {"name": changed.name}, "device", number)
        now = _mine(request.who, number)
        changed_meanwhile = str(now.version) != request.POST.get("version")
        if changed_meanwhile:
            # What was typed stays; sent again, it counts. The page says beside it how the device is by now.
            typed = request.POST.copy()
            typed["version"] = str(now.version)
            form.data = typed
            permit = now
    context = {"place": "devices", "device": permit, "form": form, "changed_meanwhile": changed_meanwhile}
    return render(request, "console/devices/change.html", context, status=409 if changed_meanwhile else 200)


@page("devices.change", post="devices.change")
def remove(request: Request, number: int) -> HttpResponse:
    """Says what removing the device means, and removes it."""
    permit = _mine(request.who, number)
    if request.method == "POST":
        devices.remove(permit.name, actor=request.who.actor, address=request.address)
        text = _("%(name)s is removed and refused from now on. Its images stay, and what it did stays in the audit.")
        return acts.done(request, text % {"name": permit.name}, "devices")
    return render(request, "console/devices/remove.html", {"place": "devices", "device": permit})


def reached(who: Who, facility: str) -> None:
    """Raises NotThere unless who asks may change devices of that facility."""
    codes = authorise.facilities(who, "devices.change")
    if codes is not None and facility not in codes:
        raise NotThere("There is no such facility")


def _mine(who: Who, number: int) -> Permit:
    codes = authorise.facilities(who, "devices.change")
    return devices.permit_by_number(number, codes)


def _add(who: Who, **told: Any) -> Permit:
    reached(who, told["facility"])
    return devices.add(actor=who.actor, address=who.address, **told)


def _change(who: Who, permit: Permit, version: int, **told: Any) -> Permit:
    reached(who, told["facility"])
    if not told["username"]:
        told["passcode"] = ""
    if permit.sees_all and "sees_all" not in told and told["facility"] != permit.facility:
        raise Refused(_("It sees every facility's studies: only who looks after all facilities can move it"))
    return devices.change(permit.name, version=version, actor=who.actor, address=who.address, **told)


def _initial(permit: Permit) -> dict[str, Any]:
    told = {name: getattr(permit, name) for name in (*_Description.main, *_Description.rest, "version")}
    told["may"] = list(permit.may)
    told["department"] = f"{permit.facility}/{permit.department}" if permit.department else ""
    del told["passcode"]
    return told
