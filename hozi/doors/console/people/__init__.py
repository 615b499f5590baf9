"""People in the browser: who is there, who waits, what each may do, roles, whole classes, and one's own account."""

from __future__ import annotations

from django.urls import URLPattern, path

from hozi.doors.console.people import admitting, lists, me, one, roles, tables, tokens

urlpatterns: list[URLPattern] = [
    path("people/", lists.people, name="people"),
    path("people/waiting/", admitting.waiting, name="people-waiting"),
    path("people/new/", admitting.new, name="person-new"),
    path("people/table/", tables.table, name="people-table"),
    path("people/table/example/", tables.example, name="people-table-example"),
    path("people/<int:number>/", one.person, name="person"),
    path("people/<int:number>/change/", one.change, name="person-change"),
    path("people/<int:number>/next/", admitting.step, name="person-step"),
    path("people/<int:number>/end/<str:way>/", one.end, name="person-end"),
    path("people/<int:number>/role/", one.give, name="person-role"),
    path("people/<int:number>/role/<int:grant>/end/", one.take_away, name="person-role-end"),
    path("people/<int:number>/token/", tokens.new, name="person-token"),
    path("people/<int:number>/token/<int:token>/end/", tokens.end, name="person-token-end"),
    path("people/<int:number>/sign-out/", one.sign_out, name="person-sign-out"),
    path("roles/", roles.listing, name="roles"),
    path("roles/new/", roles.new, name="role-new"),
    path("roles/matrix/", roles.matrix, name="roles-matrix"),
    path("roles/matrix/csv/", roles.matrix_csv, name="roles-matrix-csv"),
    path("roles/<str:key>/", roles.role, name="role"),
    path("roles/<str:key>/remove/", roles.remove, name="role-remove"),
    path("me/", me.me, name="me"),
    path("me/choices/", me.choices, name="me-choices"),
    path("me/sign-out/", me.sign_out, name="me-sign-out"),
    path("me/token/", tokens.own, name="me-token"),
    path("me/token/<int:token>/end/", tokens.end_own, name="me-token-end"),
]
