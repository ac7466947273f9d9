"""The state machine of a watch, for any behaviour of the API server."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ambimesh.kube.objects import ConfigMap, Metadata
from ambimesh.kube.reflection import INITIAL_EVENTS_END, Ask, Reflection

NAMES = st.sampled_from("abc")


def item(name: str, version: int) -> ConfigMap:
    """Make an object of a version."""
    return ConfigMap(metadata=Metadata(name=name, namespace="n", resource_version=str(version)))


class ServerMachine(RuleBasedStateMachine):
    """A truthful API server whose answers break at any point; a reader that keeps a copy.

    The reader applies only the keys it was told of. In the end its copy must be what the
    reflection has, and that must be a state that the server was in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = 1
        self.stored: dict[str, int] = {}
        self.history: list[tuple[str, str, int]] = []  # event, name, version
        self.states: list[dict[str, int]] = [{}]
        self.reflection: Reflection[ConfigMap] = Reflection()
        self.copy: dict[tuple[str, str], ConfigMap] = {}
        self.streams_lists = True
        self.pages: list[list[str]] = []
        self.page_version = 0
        self.sent = 0  # events of history already sent on the open watch

    def _tell(self, changed: frozenset[tuple[str, str]]) -> None:
        for key in changed:
            found = self.reflection.objects.get(key)
            if found is None:
                self.copy.pop(key, None)
            else:
                self.copy[key] = found

    @rule(name=NAMES, removes=st.booleans())
    def change(self, name: str, removes: bool) -> None:
        """Somebody writes."""
        if removes and name not in self.stored:
            return
        self.version += 1
        if removes:
            del self.stored[name]
            self.history.append(("DELETED", name, self.version))
        else:
            event = "MODIFIED" if name in self.stored else "ADDED"
            self.stored[name] = self.version
            self.history.append((event, name, self.version))
        self.states.append(dict(self.stored))

    @rule(pages=st.integers(0, 3), breaks=st.sampled_from(["", "", "before", "within", "410"]))
    def exchange(self, pages: int, breaks: str) -> None:
        """One request and what comes of it."""
        request = self.reflection.next_request()
        self.reflection.begin()
        if breaks == "before":
            self.reflection.interrupted()
            return
        if request.ask is Ask.STREAMING_LIST:
            self._streaming_list(breaks)
        elif request.ask is Ask.LIST:
            self._list(pages, breaks, request.parameters.get("continue", ""))
        else:
            self._watch(int(request.parameters["resourceVersion"]), breaks)

    def _streaming_list(self, breaks: str) -> None:
        if breaks == "410":
            self.reflection.streaming_lists_refused()
            return
        for name, version in self.stored.items():
            self._tell(self.reflection.event("ADDED", item(name, version)))
        if breaks != "within":
            end = Metadata(
                resource_version=str(self.version), annotations={INITIAL_EVENTS_END: "true"}
            )
            self._tell(self.reflection.event("BOOKMARK", ConfigMap(metadata=end)))
        self.reflection.interrupted()

    def _list(self, pages: int, breaks: str, continue_: str) -> None:
        if breaks == "410":
            self.reflection.gone()
            return
        if breaks == "within":
            self.reflection.interrupted()
            return
        if not continue_:  # a list is of one moment, whatever is written meanwhile
            names = sorted(self.stored)
            size = max(1, len(names) // (pages + 1))
            self.listed = dict(self.stored)
            self.pages = [names[i : i + size] for i in range(0, len(names), size)] or [[]]
            self.page_version = self.version
        page = self.pages.pop(0)
        more = "more" if self.pages else ""
        items = [item(name, self.listed[name]) for name in page]
        self._tell(self.reflection.page(items, version=str(self.page_version), continue_=more))

    def _watch(self, since: int, breaks: str) -> None:
        if breaks == "410":
            self.reflection.gone()
            return
        events = [entry for entry in self.history if entry[2] > since]
        for event, name, version in events[: len(events) // 2 if breaks == "within" else None]:
            self._tell(self.reflection.event(event, item(name, version)))  # type: ignore[arg-type]  # one of four
        self.reflection.interrupted()

    @invariant()
    def reader_who_follows_the_keys_has_everything(self) -> None:
        """The keys that are told are all that changed."""
        assert self.copy == self.reflection.objects

    @invariant()
    def objects_are_a_state_the_server_was_in(self) -> None:
        """Never a mixture of an old list and a new one."""
        found = {
            name: int(entry.metadata.resource_version)
            for (_, name), entry in self.reflection.objects.items()
        }
        assert found in self.states

    def teardown(self) -> None:
        """Once nothing breaks any more, the reflection has what the server has."""
        for _ in range(10):
            self.exchange(0, "")
        names = {name for _, name in self.reflection.objects}
        assert names == self.stored.keys()


ServerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestReflection = ServerMachine.TestCase
