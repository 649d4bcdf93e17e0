"""The catalog beside a model that keeps plain lists: any order of commits, replacements, trims, sweeps and restarts."""

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tailrace_controller.metadata import format as fmt
from tailrace_controller.metadata import objects, topics
from tailrace_controller.metadata.configs import ConfigRules
from tailrace_controller.metadata.decision import Decision
from tailrace_controller.metadata.image import Image
from tailrace_core.extents import Extent, StoredObject
from tailrace_core.membership import Broker, NewTopic, TopicDefaults

PARTITIONS = 2
NAMES = ("a", "b", "c")
GRACE_MS = 3
PICKS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, PARTITIONS - 1)), min_size=1, max_size=4)


class ModelPartition:
    def __init__(self):
        self.log_start_offset = 0
        self.committed_end = 0
        self.extents = []
        """(base offset, end offset, object id), alive ones only."""


class CatalogMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.image = Image(ConfigRules({}))
        self.values = {}
        self.ids = count(1)
        self.now_ms = 0
        self.next_object_id = 0
        self.registered = {}
        self.committed = {}
        """Object id to what was asked and what was taken."""
        self.topics = {}
        self.planned = []
        """Replacements that were planned: topic id, partition, the extents as they were then."""
        self.deletable = set()
        """Objects that were handed out for deletion."""

    def run(self, decision):
        for key, value in decision.puts:
            self.values[key] = value
            self.image.put(key, value)
        for key in decision.deletes:
            del self.values[key]
            self.image.delete(key)
        return decision.reply

    @initialize()
    def start(self):
        broker = Broker(1, None, {}, 0, 4)
        self.run(
            Decision(
                None,
                ((fmt.broker_key(1), fmt.encode_broker(broker)), (fmt.OBJECT_ID, fmt.encode_counter(10_000))),
            )
        )

        for name in NAMES:
            self.create(name)

    def new_topic_id(self):
        return next(self.ids).to_bytes(16, "big")

    @rule(name=st.sampled_from(NAMES))
    def create_again(self, name):
        self.create(name)

    def create(self, name):
        (reply,) = self.run(
            topics.plan_create(
                self.image, [NewTopic(name, PARTITIONS)], TopicDefaults(), self.new_topic_id, validate_only=False
            )
        )
        assert isinstance(reply, Exception) == (name in self.topics)
        if name not in self.topics:
            self.topics[name] = (reply.topic.topic_id, [ModelPartition() for _ in range(PARTITIONS)])

    @rule(name=st.sampled_from(NAMES[1:]))
    def delete(self, name):
        self.run(topics.plan_delete(self.image, [name]))
        self.topics.pop(name, None)

    @rule(lasting=st.integers(0, 5))
    def register(self, lasting):
        object_id, self.next_object_id = self.next_object_id, self.next_object_id + 1
        self.registered[object_id] = self.now_ms + lasting
        self.run(objects.plan_register(self.image, object_id, f"o/{object_id}", self.now_ms + lasting))

    @rule(data=st.data(), picks=PICKS)
    def upload(self, data, picks):
        self.register(1)
        self.commit(data, picks, self.next_object_id - 1)

    @precondition(lambda self: self.registered)
    @rule(data=st.data(), picks=PICKS)
    def commit_what_was_registered(self, data, picks):
        self.commit(data, picks, data.draw(st.sampled_from(sorted(self.registered))))

    def commit(self, data, picks, object_id):
        asked, taken, refused, ends = [], [], [], {}
        for name, number in picks:
            topic_id, partitions = self.topics.get(name, (bytes(16), None))
            partition = partitions[number] if partitions else ModelPartition()
            end = ends.get((name, number), partition.committed_end)
            base = max(0, data.draw(st.sampled_from([end, end, end, end - 1, end + 1, partition.log_start_offset])))
            epoch = data.draw(st.sampled_from([4, 4, 4, 3]))
            extent = Extent(topic_id, number, epoch, base, base + data.draw(st.integers(1, 4)), 0, 0, 5, 6, 0)
            asked.append(extent)
            if partitions and epoch == 4 and (base == end or end < base <= partition.log_start_offset):
                taken.append(extent)
                ends[name, number] = extent.end_offset
                partition.committed_end = extent.end_offset
                if extent.end_offset > partition.log_start_offset:
                    partition.extents.append((base, extent.end_offset, object_id))
            else:
                refused.append(extent)
        result = self.run(objects.plan_commit(self.image, self.stored(object_id, asked), self.now_ms))
        assert [one.extent for one in result.refused] == refused
        del self.registered[object_id]
        self.committed[object_id] = (asked, taken)

    def stored(self, object_id, extents):
        return StoredObject(object_id, f"o/{object_id}", 1_000, tuple(extents))

    @rule(data=st.data(), name=st.sampled_from(NAMES), number=st.integers(0, PARTITIONS - 1))
    def plan_a_replacement(self, data, name, number):
        if name in self.topics and (placed := list(self.image.catalog.partition(self.topics[name][0], number))):
            first = data.draw(st.integers(0, len(placed) - 1))
            end = data.draw(st.integers(first + 1, len(placed)))
            self.planned.append((self.topics[name][0], number, placed[first:end]))

    @precondition(lambda self: self.planned)
    @rule(data=st.data(), object_id=st.none() | st.integers(0, 20))
    def replace(self, data, object_id):
        topic_id, number, replaced = self.planned.pop(data.draw(st.integers(0, len(self.planned) - 1)))
        if object_id not in self.registered:
            self.register(1)
            object_id = self.next_object_id - 1
        base, end = replaced[0].extent.base_offset, replaced[-1].extent.end_offset
        end += data.draw(st.sampled_from([0, 0, 0, 1]))
        extent = Extent(topic_id, number, 4, base, end, 0, 0, 5, 6, 0)
        model = next((partitions[number] for known, partitions in self.topics.values() if known == topic_id), None)
        expected = [(one.extent.base_offset, one.extent.end_offset, one.object.object_id) for one in replaced]
        stands = model is not None and expected[-1][1] == end and expected[0] in model.extents
        if stands:
            first = model.extents.index(expected[0])
            stands = model.extents[first : first + len(expected)] == expected
        result = self.run(objects.plan_replace(self.image, self.stored(object_id, [extent]), replaced, self.now_ms))
        assert [one.extent for one in result.refused] == ([] if stands else [extent])
        if stands:
            model.extents[first : first + len(expected)] = [(base, end, object_id)]
        del self.registered[object_id]
        self.committed[object_id] = ([extent], [extent] if stands else [])

    @precondition(lambda self: self.committed)
    @rule(data=st.data())
    def commit_again(self, data):
        object_id = data.draw(st.sampled_from(sorted(self.committed)))
        asked, taken = self.committed[object_id]
        decision = objects.plan_commit(self.image, self.stored(object_id, asked), self.now_ms)
        assert (decision.puts, decision.deletes, decision.events) == ((), (), ())
        if object_id in self.live_objects():
            assert [one.extent for one in decision.reply.refused] == [one for one in asked if one not in taken]

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, PARTITIONS - 1), beyond=st.integers(-6, 3))
    def trim(self, name, number, beyond):
        if name not in self.topics:
            return
        topic_id, partitions = self.topics[name]
        partition = partitions[number]
        offset = max(0, partition.committed_end + beyond)
        partition.log_start_offset = max(partition.log_start_offset, offset)
        partition.extents = [one for one in partition.extents if one[1] > partition.log_start_offset]
        reply = self.run(objects.plan_trim(self.image, topic_id, number, offset))
        assert reply == partition.log_start_offset

    @rule(passing_ms=st.integers(0, 4))
    def sweep(self, passing_ms):
        self.now_ms += passing_ms
        expired = self.run(objects.plan_expire_registrations(self.image, self.now_ms))
        assert [ref.object_id for ref in expired] == [
            object_id for object_id, expires in sorted(self.registered.items()) if expires <= self.now_ms
        ]
        for ref in expired:
            del self.registered[ref.object_id]
        due = self.run(objects.plan_sweep(self.image, self.now_ms, GRACE_MS))
        live = self.live_objects()
        assert not any(ref.object_id in live or ref.object_id in self.registered for ref in due)
        self.deletable |= {ref.object_id for ref in due}

    @rule()
    def forget(self):
        self.run(objects.plan_forget(self.image, tuple(sorted(self.deletable))))
        assert not any(fmt.object_key(object_id) in self.values for object_id in self.deletable)
        for object_id in self.deletable:
            self.committed.pop(object_id, None)
        self.deletable.clear()

    @rule()
    def restart(self):
        image = Image(ConfigRules({}))
        image.load(sorted(self.values.items()))
        self.image = image

    def live_objects(self):
        return {
            one[2] for _, partitions in self.topics.values() for partition in partitions for one in partition.extents
        }

    @invariant()
    def the_catalog_is_what_the_model_is(self):
        assert [topic.name for topic in self.image.topics] == sorted(self.topics)
        for topic_id, partitions in self.topics.values():
            for number, model in enumerate(partitions):
                partition = self.image.catalog.partition(topic_id, number)
                found = [(p.extent.base_offset, p.extent.end_offset, p.object.object_id) for p in partition]
                assert found == model.extents
                assert partition.log_start_offset == model.log_start_offset
                assert partition.committed_end == model.committed_end
                assert partition.data_bytes == 5 * len(found)
                for base, end, object_id in found:
                    assert partition[partition.index_at(base)].object.object_id == object_id
                    assert partition[partition.index_at(end - 1)].object.object_id == object_id

    @invariant()
    def every_object_in_use_has_its_key(self):
        live = self.live_objects()
        assert all(fmt.object_key(object_id) in self.values for object_id in live)
        assert set(self.image.catalog.objects) - set(self.image.catalog.emptied) == live


CatalogMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None, derandomize=True)
TestCatalog = CatalogMachine.TestCase
