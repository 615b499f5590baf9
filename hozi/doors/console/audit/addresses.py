"""The addresses of the audit's pages."""

from __future__ import annotations

from django.urls import path

from hozi.doors.console.audit import pages, reports

urlpatterns = [
    path("audit/", pages.audit, name="audit"),
    path("audit/rows/<int:number>/", pages.row, name="audit_row"),
    path("audit/who-saw/", pages.who_saw, name="audit_who_saw"),
    path("audit/export/", pages.export, name="audit_export"),
    path("audit/reports/", reports.report, name="audit_report"),
    path("audit/reports/export/", reports.export, name="audit_report_export"),
    path("audit/state/", reports.state, name="audit_state"),
]
