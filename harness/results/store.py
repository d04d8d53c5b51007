"""The results store: SQLite by default, PostgreSQL where several control nodes share it.

Results are only ever added. Adding one that is there already (same id) changes nothing, so a step that is run again
after a crash leaves each trial exactly once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import func, inspect, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from harness.config import nearest
from harness.errors import InputError, StorageError, UnavailableError
from harness.results import rows as convert
from harness.results.database import (
    DATABASE_VARIABLE,
    default_url,
    open_engine,
    parse_url,
    prepare,
    why,
)
from harness.results.model import (
    BlockRecord,
    CampaignRecord,
    ChangeRecord,
    Fingerprint,
    GuestTotals,
    NightlyRecord,
    NightRecord,
    Note,
    NoteKind,
    Status,
    Tally,
    TrialRecord,
)
from harness.results.tables import (
    Base,
    BlockRow,
    CampaignRow,
    ChangeRow,
    FingerprintRow,
    GuestRow,
    NightlyRow,
    NightRow,
    NoteRow,
    TrialRow,
)

__all__ = ["Store", "default_url"]


class Store:
    """Campaigns and what came out of them. Safe to use from several threads and processes at once.

    Every method may raise StorageError (no space, database gone). `close` it when done.
    """

    def __init__(self, url: str | None = None) -> None:
        """Open, and make the tables where there are none.

        Raises InputError for a URL that is none, UnavailableError where the database cannot be reached or was made by
        another version of the harness.
        """
        parsed = parse_url(url or default_url())
        self.name = parsed.render_as_string(hide_password=True)
        self._engine = open_engine(parsed)
        self._writer = self._engine.execution_options(nohype_write=True)
        try:
            prepare(self._engine, self._writer, self.name)
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise UnavailableError(
                f"the results store cannot be opened: {why(error)}",
                where=self.name,
                fix=f"see that the place exists and may be written; {DATABASE_VARIABLE} names another one",
            ) from None

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def add_campaign(self, record: CampaignRecord) -> bool:
        """False, and nothing is changed, where its id is there already (as for every `add_...`)."""
        return self._add(CampaignRow(**{**asdict(record), "fidelity": record.fidelity.value}))

    def set_campaign_status(self, campaign_id: str, status: str, ended_at: datetime | None = None) -> None:
        """The only thing about a campaign that changes. `ended_at` is for done and cancelled ones."""
        with self._session(write=True) as session:
            session.execute(
                update(CampaignRow).where(CampaignRow.id == campaign_id).values(status=status, ended_at=ended_at)
            )

    def campaigns(self) -> tuple[CampaignRecord, ...]:
        """All of them, the latest first."""
        with self._session() as session:
            rows = session.scalars(select(CampaignRow).order_by(CampaignRow.started_at.desc(), CampaignRow.id.desc()))
            return tuple(convert.campaign(row) for row in rows)

    def campaign(self, campaign_id: str) -> CampaignRecord:
        """The campaign of that id, of an id that begins so, or the `latest`. Raises InputError where there is none."""
        with self._session() as session:
            row = session.get(CampaignRow, campaign_id)
            if row:
                return convert.campaign(row)
        every = self.campaigns()
        found = [one for one in every if one.id.startswith(campaign_id)]
        if campaign_id == "latest":
            found = list(every[:1])
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(one.id for one in found[:3])
            raise InputError(f"{campaign_id!r} may be any of {len(found)} campaigns: {some}", where=self.name)
        hint = nearest(campaign_id, [one.id for one in every])
        raise InputError(
            f"no campaign {campaign_id!r}{hint}" if every else "there are no campaigns yet",
            where=self.name,
            fix="see: nohype campaign list" if every else "start one: nohype campaign run campaigns/quickstart.yml",
        )

    def add_fingerprint(self, fingerprint: Fingerprint) -> bool:
        return self._add(
            FingerprintRow(digest=fingerprint.digest, host=fingerprint.host, facts=dict(fingerprint.facts))
        )

    def fingerprints(self, campaign_id: str) -> tuple[Fingerprint, ...]:
        """Those of the campaign's blocks and trials, each once."""
        with self._session() as session:
            digests = select(BlockRow.fingerprint).where(BlockRow.campaign_id == campaign_id)
            digests_of_trials = select(TrialRow.fingerprint).where(TrialRow.campaign_id == campaign_id)
            rows = session.scalars(
                select(FingerprintRow)
                .where(FingerprintRow.digest.in_(digests.union(digests_of_trials)))
                .order_by(FingerprintRow.digest)
            )
            return tuple(Fingerprint(row.host, row.digest, tuple(sorted(row.facts.items()))) for row in rows)

    def add_block(self, record: BlockRecord) -> bool:
        return self._add(BlockRow(**{**asdict(record), "fingerprint": record.fingerprint or None}))

    def block(self, block_id: str) -> BlockRecord | None:
        with self._session() as session:
            row = session.get(BlockRow, block_id)
            return convert.block(row) if row else None

    def blocks(self, campaign_id: str) -> tuple[BlockRecord, ...]:
        """In the order of their numbers."""
        with self._session() as session:
            rows = session.scalars(
                select(BlockRow).where(BlockRow.campaign_id == campaign_id).order_by(BlockRow.number)
            )
            return tuple(convert.block(row) for row in rows)

    def add_trial(self, record: TrialRecord) -> bool:
        """The trial with its metrics and exits, all or nothing."""
        return self._add(convert.trial_row(record))

    def trial(self, trial_id: str) -> TrialRecord | None:
        with self._session() as session:
            row = session.get(TrialRow, trial_id)
            return convert.trial(row) if row else None

    def trials(self, campaign_id: str) -> tuple[TrialRecord, ...]:
        """In the order they were run."""
        with self._session() as session:
            rows = session.scalars(
                select(TrialRow)
                .where(TrialRow.campaign_id == campaign_id)
                .order_by(TrialRow.started_at, TrialRow.block_id, TrialRow.order)
            )
            return tuple(convert.trial(row) for row in rows)

    def tallies(self, campaign_id: str | None = None) -> dict[str, Tally]:
        """By campaign; without those that have no trial yet. Of all campaigns, or of one."""
        query = select(TrialRow.campaign_id, TrialRow.status, func.count()).group_by(
            TrialRow.campaign_id, TrialRow.status
        )
        if campaign_id is not None:
            query = query.where(TrialRow.campaign_id == campaign_id)
        found: dict[str, Tally] = {}
        with self._session() as session:
            for identity, status, count in session.execute(query):
                before = found.get(identity, Tally())
                failed = count if status == Status.FAILED else 0
                found[identity] = Tally(before.trials + count, before.failed + failed)
        return found

    def add_guest_totals(self, totals: GuestTotals) -> bool:
        exits: list[list[int | str]] = [[row.vcpu, row.reason, row.count] for row in totals.exits]
        return self._add(GuestRow(**{**asdict(totals), "exits": exits}))

    def guest_totals(self, campaign_id: str) -> tuple[GuestTotals, ...]:
        """In the order the guests ended."""
        with self._session() as session:
            rows = session.scalars(
                select(GuestRow).where(GuestRow.campaign_id == campaign_id).order_by(GuestRow.ended_at, GuestRow.guest)
            )
            return tuple(convert.totals(row) for row in rows)

    def add_note(self, note: Note) -> bool:
        return self._add(NoteRow(**{**asdict(note), "kind": note.kind.value}))

    def notes(self, campaign_id: str, kind: NoteKind | None = None, subject: str | None = None) -> tuple[Note, ...]:
        """In the order they were made."""
        query = select(NoteRow).where(NoteRow.campaign_id == campaign_id).order_by(NoteRow.at, NoteRow.subject)
        if kind is not None:
            query = query.where(NoteRow.kind == kind.value)
        if subject is not None:
            query = query.where(NoteRow.subject == subject)
        with self._session() as session:
            return tuple(
                Note(row.campaign_id, NoteKind(row.kind), row.subject, row.text, row.at)
                for row in session.scalars(query)
            )

    def prometheus(self, campaign_id: str) -> tuple[int, tuple[str, ...]]:
        """How many ended guests Prometheus was asked about, and every disagreement between it and this store."""
        notes = self.notes(campaign_id, NoteKind.PROMETHEUS)
        return len(notes), tuple(line for note in notes for line in note.text.splitlines())

    def set_nightly(self, record: NightlyRecord) -> None:
        """Install a nightly, or change an installed one; its nights stay."""
        self._set(NightlyRow(**asdict(record)))

    def nightlies(self) -> tuple[NightlyRecord, ...]:
        """All of them, removed ones too, by name."""
        with self._session() as session:
            return tuple(convert.nightly(row) for row in session.scalars(select(NightlyRow).order_by(NightlyRow.name)))

    def set_night(self, record: NightRecord) -> None:
        """Record a night, or what has become of it."""
        self._set(convert.night_row(record))

    def nights(self, nightly: str) -> tuple[NightRecord, ...]:
        """The nightly's nights, the earliest first."""
        with self._session() as session:
            rows = session.scalars(
                select(NightRow).where(NightRow.nightly == nightly).order_by(NightRow.due_at, NightRow.night)
            )
            return tuple(convert.night(row) for row in rows)

    def set_change(self, record: ChangeRecord) -> None:
        """Keep a change that is reported, or its acknowledgement."""
        self._set(convert.change_row(record))

    def changes(self, campaign: str) -> tuple[ChangeRecord, ...]:
        """Those of the campaigns of this name, in the order they were found."""
        with self._session() as session:
            rows = session.scalars(
                select(ChangeRow).where(ChangeRow.campaign == campaign).order_by(ChangeRow.found_at, ChangeRow.id)
            )
            return tuple(convert.change(row) for row in rows)

    def _set(self, row: Base) -> None:
        try:
            with self._session(write=True) as session:
                session.merge(row)
        except IntegrityError as error:
            raise StorageError(f"cannot be stored: {why(error)}", where=self.name) from None

    def _add(self, row: Base) -> bool:
        identity = inspect(row).mapper.primary_key_from_instance(row)
        try:
            with self._session(write=True) as session:
                if session.get(type(row), tuple(identity)) is not None:
                    return False
                session.add(row)
        except IntegrityError as error:
            with self._session() as session:
                if session.get(type(row), tuple(identity)) is not None:
                    return False  # somebody else was faster
            raise StorageError(f"cannot be stored: {why(error)}", where=self.name) from None
        return True

    @contextlib.contextmanager
    def _session(self, *, write: bool = False) -> Iterator[Session]:
        """One transaction: all of it or nothing."""
        try:
            with Session(self._writer if write else self._engine) as session, session.begin():
                yield session
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StorageError(
                f"the results store failed: {why(error)}",
                where=self.name,
                fix="free space or bring the database back, then: nohype campaign resume",
            ) from None
