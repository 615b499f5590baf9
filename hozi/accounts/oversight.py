"""Who may look after whom: how far somebody's reach over people goes, and what nobody may do to anybody.

People belong to where they work and to where they hold roles. Whoever looks after one facility sees its people, and may
act on those who reach no farther than that facility. Where an act would give the use of the account (a link, a token,
another e-mail address), whoever does it must hold everything that the account holds.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q, QuerySet
from django.utils import timezone

from hozi.accounts import authorise
from hozi.accounts.authorise import Who
from hozi.accounts.models import Grant, Person, Role
from hozi.core.errors import Changed, NotThere, Refused

GRANT = "people.grant"


def reached(who: Who, permission: str) -> Q:
    """The people whom the permission reaches, as a condition on Person. Raises Denied when it is not held at all."""
    codes = authorise.facilities(who, permission)
    if codes is None:
        return Q()
    here = Grant.objects.filter(ended_at=None, facility__code__in=codes).values("person")
    return Q(facility__code__in=codes) | Q(pk__in=here)


def person(who: Who, permission: str, number: int, *, version: int | None = None) -> Person:
    """The person, locked until the end of the transaction that is open.

    Raises Denied without the permission, NotThere when it does not reach them, Changed when ``version`` is given and
    not theirs any more.
    """
    found = Person.objects.select_for_update(of=("self",)).filter(reached(who, permission), pk=number).first()
    if found is None:
        raise NotThere("There is no such person here")
    if version is not None and version != found.version:
        raise Changed("Somebody else has changed this account meanwhile; look at it again")
    return found


def check_within(who: Who, permission: str, person: Person) -> None:
    """Raises Refused when the person holds roles beyond the facilities that the permission reaches."""
    codes = authorise.facilities(who, permission)
    if codes is None:
        return
    beyond = person.grants.filter(ended_at=None).exclude(facility__code__in=codes)
    if beyond.exists() or (person.facility is not None and person.facility.code not in codes):
        raise Refused(
            f"{person.username} also works beyond your facility: whoever looks after people everywhere must do it"
        )


def check_covers(who: Who, person: Person) -> None:
    """Raises Refused unless who asks holds everything that the person holds: they could use it through the account."""
    for held in authorise.held_by(person):
        for permission in held.permissions:
            if not authorise.covers(who, permission, held.scope):
                raise Refused(f"{person.username} may do more than you; somebody who may do as much must do it")


def check_other(who: Who, person: Person, act: str) -> None:
    """Raises Refused when the person is who asks. ``act`` completes "Nobody may ...": "suspend themselves"."""
    if who.person == person.pk:
        raise Refused(f"Nobody may {act}; ask somebody else who looks after people")


def facility_in_reach(who: Who, permission: str, code: str) -> None:
    """Raises Refused when the facility (empty: all of them) is beyond what the permission reaches."""
    codes = authorise.facilities(who, permission)
    if codes is not None and code not in codes:
        raise Refused(f"You look after people of {words(codes)} only; choose from these", field="facility")


def words(codes: Collection[str]) -> str:
    """Codes of facilities in a sentence."""
    return ", ".join(sorted(codes))


def holders(permission: str, *, facility: int | None = None) -> QuerySet[Person]:
    """Active people, no programs, whose end date is not past, who hold the permission everywhere.

    With ``facility`` (its row): those too who hold it there.
    """
    roles = [role.pk for role in Role.objects.all() if permission in role.permissions]
    where = Q(facility=None) if facility is None else Q(facility=None) | Q(facility=facility)
    grants = Grant.objects.filter(where, ended_at=None, role__in=roles).values("person")
    in_time = Q(ends_on=None) | Q(ends_on__gte=timezone.localdate())
    return Person.objects.filter(in_time, pk__in=grants, is_active=True, is_program=False)


def hold_still() -> None:
    """Locks who can grant until the end of the transaction: first, in every act that may take that from somebody."""
    list(Role.objects.select_for_update().order_by("pk").values_list("pk"))


def check_not_last(person: Person) -> None:
    """Raises Refused when nobody else could give roles any more. `hold_still` comes before.

    Others count who have no last day; where the person has one, any other does.
    """
    able = holders(GRANT)
    if not able.filter(pk=person.pk).exists():
        return
    others = able.exclude(pk=person.pk)
    if not (others if person.ends_on else others.filter(ends_on=None)).exists():
        raise Refused(
            f"{person.username} is the last one who can give roles to people of all facilities. "
            "Give somebody else such a role first, for example that of a PACS administrator"
        )
