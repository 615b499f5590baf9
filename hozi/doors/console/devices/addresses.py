"""The addresses of this area's pages."""

from __future__ import annotations

from django.urls import URLPattern, path

from hozi.doors.console.devices import changing, knocks, looking, needing, trials

urlpatterns: list[URLPattern] = [
    path("devices/", looking.devices, name="devices"),
    path("devices/add/", changing.add, name="device-add"),
    path("devices/knocks/<int:number>/", knocks.knock, name="knock"),
    path("devices/knocks/<int:number>/admit/", knocks.admit, name="knock-admit"),
    path("devices/knocks/<int:number>/dismiss/", knocks.dismiss, name="knock-dismiss"),
    path("devices/<int:number>/", looking.device, name="device"),
    path("devices/<int:number>/call/", looking.call, name="device-call"),
    path("devices/<int:number>/change/", changing.change, name="device-change"),
    path("devices/<int:number>/remove/", changing.remove, name="device-remove"),
    path("devices/<int:number>/try/", trials.begin, name="trial-begin"),
    path("devices/trials/<int:number>/", trials.trial, name="trial"),
    path("devices/trials/<int:number>/call/", trials.call, name="trial-call"),
    path("devices/trials/<int:number>/send/", trials.send, name="trial-send"),
    path("devices/trials/<int:number>/leave-out/<slug:key>/", trials.leave_out, name="trial-leave-out"),
    path("devices/trials/<int:number>/take-up/<slug:key>/", trials.take_up, name="trial-take-up"),
    path("devices/trials/<int:number>/accept/", trials.accept, name="trial-accept"),
    path("devices/trials/<int:number>/give-up/", trials.give_up, name="trial-give-up"),
    path("devices/trials/<int:number>/sheet.pdf", trials.sheet, name="trial-sheet"),
]

needing.register()
