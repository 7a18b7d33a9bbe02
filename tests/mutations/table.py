"""The deliberate bugs: file, old text (there exactly once), new text, and the property that should find it."""

from typing import NamedTuple


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    found_by: str


MACHINE = "flowkit/scheduler/machine.py"
ENDINGS = "flowkit/scheduler/endings.py"
GROWTH = "flowkit/scheduler/growth.py"
TRIGGERS = "flowkit/scheduler/triggers.py"
CAPACITY = "flowkit/scheduler/capacity.py"
RUNNER = "flowkit/runner.py"
WORKER = "flowkit/worker.py"
LIFETIMES = "flowkit/lifetimes.py"
INPUTS = "flowkit/inputs.py"
RETRY = "flowkit_plugins/retry.py"
WRITER = "flowkit_plugins/cache/writer.py"
REUSE = "flowkit_plugins/cache/reuse.py"
KEEPING = "flowkit_plugins/cache/keeping.py"
RIGHTS = "flowkit_plugins/cache/rights.py"
KEYS = "flowkit_plugins/cache/keys.py"
STORAGE = "flowkit_plugins/cache/storage.py"
CONTINUED = "flowkit_plugins/cache/continued.py"
PRINT = "flowkit_plugins/cache/fingerprint.py"
KINDS = "flowkit_plugins/schedule/kinds.py"
WALLS = "flowkit_plugins/schedule/walls.py"
ZONES = "flowkit_plugins/schedule/zones.py"
TIMETABLE = "flowkit_plugins/schedule/timetable.py"

MUTATIONS = [
    # scheduler
    Mutation("collector accepts a partial set", TRIGGERS, "        and n.state in (FAILED, UPSTREAM)\n", "        and n.state is UPSTREAM\n", "reference"),
    Mutation("collector ignores elements that did not run", TRIGGERS, "        and n.state in (FAILED, UPSTREAM)\n", "        and n.state is FAILED\n", "reference"),
    Mutation("a task runs though what it needs failed", MACHINE, "                if trouble:\n                    waiter.trouble = True\n", "", "reference"),
    Mutation("trouble of the first element is forgotten", MACHINE, "            trouble = node.state is not SUCCEEDED\n", "            trouble = node.state is FAILED and not node.coords\n", "reference"),
    Mutation("a slot is held while a node waits for its retry", RUNNER, "            self._events.append(NodePutBack(now, node, again.not_before))\n            return\n", "            self.machine.capacity.free -= 1\n            self._events.append(NodePutBack(now, node, again.not_before))\n            return\n", "retry_bounds"),
    Mutation("a slot is never given back", ENDINGS, "            self.capacity.give_back(node)\n", "            if node.state.value != \"failed\":\n                self.capacity.give_back(node)\n", "reference"),
    Mutation("the first element of a list is left out", GROWTH, "            for index in piece.indices:\n", "            for index in piece.indices[1:]:\n", "reference"),
    Mutation("the values of an element's neighbour", INPUTS, "                item = items[index]\n", "                item = items[index - 1]\n", "reference"),
    Mutation("a collector drops its last element", INPUTS, "        return Collected(items, kept)\n", "        return Collected(items[:-1], kept[:-1]) if len(items) > 2 else Collected(items, kept)\n", "reference"),
    # retries
    Mutation("one retry too many", RETRY, "attempt.number > policy.times:", "attempt.number > policy.times + 1:", "retry_bounds"),
    Mutation("one retry too few", RETRY, "attempt.number > policy.times:", "attempt.number >= policy.times:", "retry_bounds"),
    Mutation("every error is retried", RETRY, "        return isinstance(error, self.on) and not isinstance(error, self.unless)\n", "        return True\n", "retry_bounds"),
    Mutation("excluded errors are retried", RETRY, " and not isinstance(error, self.unless)\n", "\n", "retry_bounds"),
    Mutation("the back-off is one step ahead", RETRY, "_power(self.backoff, retry - 1)", "_power(self.backoff, retry)", "retry_bounds"),
    Mutation("no longest wait", RETRY, "        return min(wait, LONGEST if self.max_delay is None else min(self.max_delay, LONGEST))\n", "        return wait\n", "retry_bounds"),
    Mutation("listed delays start with the second", RETRY, "self.delay[min(retry, len(self.delay)) - 1]", "self.delay[min(retry + 1, len(self.delay)) - 1]", "retry_bounds"),
    Mutation("retries after their time is over", RETRY, "ended + wait - self._start(attempt) > policy.within", "wait > policy.within", "retry_bounds"),
    Mutation("the wait counts from the start of the attempt", RETRY, "            not_before=ended + wait,", "            not_before=attempt.started_at + wait,", "retry_bounds"),
    # reuse
    Mutation("record before blob", WRITER, '            self._at("before_blob")\n', '            self._at("before_blob")\n            self._traces.commit([r.trace if r.blob is None else r.trace.stored_as(r.blob[0], 0) for r in group if r.trace is not None], [])\n            self._at("after_record")\n', "resume_equals_clean"),
    Mutation("a record without its value's name", WRITER, "record.trace.stored_as(*next(kept))", "record.trace.stored_as('v-gone', next(kept)[1])", "cache_transparent"),
    Mutation("nothing is recorded", WRITER, "            self._traces.commit(traces, ", "            self._traces.commit([], ", "cache_transparent"),
    Mutation("a key without the arguments from above", KEYS, "                if edge.argument is None:\n                    _refuse_failures(edge, nodes)\n                    continue\n", "                continue\n", "changed"),
    Mutation("a key without elements", KEYS, "            for element, source, index in inputs.elements:\n                counted", "            for element, source, index in ():\n                counted", "reference"),
    Mutation("a key without parameters", KEYS, '                texts.append(f"{argument}=v:{', '                [].append(f"{argument}=v:{', "key_injective"),
    Mutation("a key without the code", KEYS, "texts = [VERSION, task.declaration.name, hexed,", 'texts = [VERSION, task.declaration.name, "",', "changed"),
    Mutation("a collector's key counts one element", KEYS, "for name, node in inputs.gathered(edge, nodes)]", "for name, node in inputs.gathered(edge, nodes)[:1]]", "key_injective"),
    Mutation("all elements count as the first", KEYS, "{listed[1][index]}", "{listed[1][0]}", "reference"),
    Mutation("arguments are not told apart", KEYS, "sorted(counted)]).encode())", "sorted(counted)][:1]).encode())", "changed"),
    Mutation("a damaged value is handed out as None", KEEPING, "        if isinstance(found, Miss):\n            raise ValueMissing(f\"{found.reason}", "        if isinstance(found, Miss):\n            return None\n            raise ValueMissing(f\"{found.reason}", "cache_transparent"),
    Mutation("cache=False is reused", KEYS, '        never = "cache=False"', '        never = ""', "cache_transparent"),
    Mutation("a warm run loads what it reuses", REUSE, '        if trace.kind == "skipped":\n            return KnownNode(skipped', '        if trace.blob is not None:\n            self._storage.value(trace)\n        if trace.kind == "skipped":\n            return KnownNode(skipped', "cache_transparent"),
    Mutation("a lock is never let go", RIGHTS, "        if holder is not None and holder[1] is not None:\n            holder[1].release()\n", "", "single_flight"),
    Mutation("no lock between runs", RIGHTS, "        if self._worth_a_lock(node):\n            right, owner", "        if not self._worth_a_lock(node):\n            right, owner", "single_flight"),
    # resume
    Mutation("resume calls again what is never reused", CONTINUED, "        return trace._replace(kind=body[\"was\"])\n", "        return None\n", "resumed"),
    Mutation("results of uncached tasks are not kept for resume", KEEPING, "        self._storage.put(trace, None, blob, plan.made, urgent=trace.took >= QUICK, then=None)\n", "", "resumed"),
    # teardown
    Mutation("shared resources are not torn down", LIFETIMES, "            self._tear_down(self._order.pop())\n", "            self._order.pop()\n", "teardown_always"),
    Mutation("shared resources are torn down first in, first out", LIFETIMES, "self._order.pop())", "self._order.pop(0))", "teardown_always"),
    Mutation("an attempt's resources are torn down first in, first out", LIFETIMES, "yield stack.pop()", "yield stack.pop(0)", "teardown_always"),
    Mutation("teardown is skipped after a failure", WORKER, "            if stack:\n                self._lifetimes.close(stack)", '            if stack and attempt.kind == "success":\n                self._lifetimes.close(stack)', "teardown_always"),
    Mutation("the first failed teardown ends all", LIFETIMES, "        while self._order:\n", "        if self._order:\n", "teardown_always"),
    Mutation("a teardown that raises is run again", LIFETIMES, "            self._report(live.resource, live.node, error)\n", "            self._report(live.resource, live.node, error)\n            raise\n", "teardown_always"),
    # timeouts and ends
    Mutation("a late result is a success", MACHINE, "        node.become(FAILED)\n        node.error = event.error\n        self._leave(node)\n", "        node.become(SUCCEEDED if type(event.error).__name__ == 'TaskTimeout' else FAILED)\n        node.error = event.error\n        self._leave(node)\n", "failure_isolation"),
    # schedules
    Mutation("a time in a gap is lost", KINDS, "                yield start\n                lowest += MOMENT\n", "                lowest += MOMENT\n", "schedule_sane"),
    Mutation("hourly schedules run late for an hour that is skipped", KINDS, "        if change is not None and not self.expression.real_time:\n", "        if change is not None:\n", "schedule_sane"),
    Mutation("a daily time in a repeated hour comes twice", KINDS, '            if self.fold == "first":\n', '            if self.fold == "never":\n', "schedule_sane"),
    Mutation("fold=both is forgotten", KINDS, '            if self.fold == "first":\n', '            if self.fold != "never":\n', "schedule_sane"),
    Mutation("an interval counts from when one looks", KINDS, "        origin = EPOCH if self.start is None", "        origin = after if self.start is None", "schedule_sane"),
    Mutation("an interval leaves out its start", KINDS, "            count = max(count, 0)\n", "            count = max(count, 1)\n", "schedule_sane"),
    Mutation("a moment that is skipped is an hour off", ZONES, "    return max(c.at for year in", "    return found or max(c.at for year in", "schedule_sane"),
    Mutation("the offset of the other season", ZONES, "                start, offset = change.at, change.after\n", "                start, offset = change.at, change.before\n", "schedule_sane"),
    Mutation("the minute one starts from is left out", WALLS, "(lowest - MOMENT).replace(", "lowest.replace(", "schedule_sane"),
    Mutation("a restart forgets what was dealt with", TIMETABLE, "        self.last = now\n        return found\n", "        self.last = now - ON_TIME\n        return found\n", "schedule_sane"),
    Mutation("a restart loses what is due at that moment", TIMETABLE, "            self._start(now)\n", "            found = [f for f in found if f.at < now]\n            self._start(now)\n", "schedule_sane"),
    Mutation("the first of those missed instead of the last", TIMETABLE, "    back = timedelta(hours=1)\n", "    return next(takewhile(lambda f: f.at <= now, table.after(last)), None)\n    back = timedelta(hours=1)\n", "schedule_sane"),
    Mutation("one run for all, whatever their parameters", TIMETABLE, "        for lane in sorted(set(table.lanes))\n", "        for lane in sorted(set(table.lanes))[:1]\n", "schedule_sane"),
    Mutation("catchup=all runs the last only", TIMETABLE, '    if policy == "all":\n', '    if policy == "every":\n', "schedule_sane"),
    Mutation("catchup=none runs what was missed", TIMETABLE, '    if policy == "none":\n', '    if policy == "nothing":\n', "schedule_sane"),
    Mutation("two schedules at one time run twice", TIMETABLE, "            if last.get(lane) != at:\n", "            if last.get(number) != at or lane:\n", "schedule_sane"),
    Mutation("schedules with other parameters hide each other", TIMETABLE, "            if last.get(lane) != at:\n", "            if at not in last.values():\n", "schedule_sane"),
]
