/* Bulk load through librdkafka's C API: what an application's client moves when it batches.
 *
 *   bulk produce bootstrap=H:P topic=T partitions=N count=C bytes=B
 *     `count` records of `bytes` (whole thousands), in runs of 1,000 to each partition in turn; idempotent, acks=all,
 *     linger 5 ms, no compression. Ends when all are acknowledged. One more record for each partition goes before.
 *   bulk consume bootstrap=H:P topic=T partitions=N count=C bytes=B [first=O] [passes=K]
 *     reads every partition from offset `first`, `count` records in all, `passes` times over on one client.
 *
 * Payloads are not copied on the way in, and delivery reports come only for errors, so that the client costs as little
 * as it can. Consumed records are checked for their length, and offsets for gaps. One line of JSON on stdout; anything
 * wrong ends in exit 1 and a line on stderr. An alarm bounds the run.
 *
 * It links against the librdkafka that the Python package confluent-kafka brings, which has no header: the few parts
 * of its (stable) interface that are used are declared here.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_topic_conf_s rd_kafka_topic_conf_t;
typedef struct rd_kafka_queue_s rd_kafka_queue_t;
typedef struct {
    int err;
    rd_kafka_topic_t *rkt;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *_private;
} rd_kafka_message_t;
struct rd_kafka_metadata;
enum { RD_KAFKA_PRODUCER, RD_KAFKA_CONSUMER };

rd_kafka_conf_t *rd_kafka_conf_new(void);
int rd_kafka_conf_set(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
void rd_kafka_conf_set_dr_msg_cb(rd_kafka_conf_t *, void (*)(rd_kafka_t *, const rd_kafka_message_t *, void *));
void rd_kafka_conf_set_error_cb(rd_kafka_conf_t *, void (*)(rd_kafka_t *, int, const char *, void *));
rd_kafka_t *rd_kafka_new(int, rd_kafka_conf_t *, char *, size_t);
rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *, const char *, rd_kafka_topic_conf_t *);
int rd_kafka_metadata(rd_kafka_t *, int, rd_kafka_topic_t *, const struct rd_kafka_metadata **, int);
int rd_kafka_produce_batch(rd_kafka_topic_t *, int32_t, int, rd_kafka_message_t *, int);
int rd_kafka_poll(rd_kafka_t *, int);
int rd_kafka_flush(rd_kafka_t *, int);
rd_kafka_queue_t *rd_kafka_queue_new(rd_kafka_t *);
int rd_kafka_consume_start_queue(rd_kafka_topic_t *, int32_t, int64_t, rd_kafka_queue_t *);
int rd_kafka_consume_stop(rd_kafka_topic_t *, int32_t);
int rd_kafka_consume_callback_queue(rd_kafka_queue_t *, int, void (*)(rd_kafka_message_t *, void *), void *);
const char *rd_kafka_err2str(int);
const char *rd_kafka_version_str(void);

#define DIE(...) (fprintf(stderr, "bulk: " __VA_ARGS__), fputc('\n', stderr), _exit(1))
#define RUN 1000
#define PARTITIONS_MAX 1024

static const char *bootstrap = "", *topic = "";
static long partitions = 1, count = 0, bytes = 1024, first = 0, passes = 1;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque) {
    (void)rk, (void)opaque;
    DIE("%s: %s", rd_kafka_err2str(err), reason);
}
static void on_failed_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    (void)rk, (void)opaque;
    DIE("a record was not delivered to partition %d: %s", m->partition, rd_kafka_err2str(m->err));
}

static rd_kafka_t *client(int type, const char *const (*settings)[2], rd_kafka_topic_t **rkt) {
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; (*settings)[0]; settings++)
        if (rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], error, sizeof error)) DIE("%s", error);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, error, sizeof error)) DIE("%s", error);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_dr_msg_cb(conf, on_failed_delivery);
    rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
    if (!rk) DIE("%s", error);
    *rkt = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *metadata; /* connected and routed before the clock starts */
    int err = rd_kafka_metadata(rk, 0, *rkt, &metadata, 10000);
    if (err) DIE("metadata: %s", rd_kafka_err2str(err));
    return rk;
}

static double produce(void) {
    static const char *const settings[][2] = {{"enable.idempotence", "true"}, {"linger.ms", "5"}, {"acks", "all"},
        {"delivery.report.only.error", "true"}, {"queue.buffering.max.messages", "500000"},
        {"queue.buffering.max.kbytes", "262144"}, {NULL, NULL}};
    rd_kafka_topic_t *rkt;
    rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, settings, &rkt);
    char *payload = malloc((size_t)bytes);
    unsigned long long x = 88172645463325252ULL;
    for (long i = 0; i < bytes; i++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; payload[i] = (char)x; }
    static rd_kafka_message_t messages[RUN];
    for (int i = 0; i < RUN; i++) {
        messages[i].payload = payload;
        messages[i].len = (size_t)bytes;
    }
    /* One record to each partition before the clock starts: librdkafka takes up to half a second to get its producer id. */
    for (int32_t p = 0; p < partitions; p++)
        if (rd_kafka_produce_batch(rkt, p, 0, messages, 1) != 1) DIE("a record was refused by the client");
    int err = rd_kafka_flush(rk, 20000);
    if (err) DIE("first flush: %s", rd_kafka_err2str(err));
    double start = now_s();
    for (long p = 0, left; p < count / RUN; p++)
        for (left = RUN; left; ) { /* all records are alike: what did not fit the client's queue is sent again */
            long taken = rd_kafka_produce_batch(rkt, (int32_t)(p % partitions), 0, messages, (int)left);
            left -= taken;
            rd_kafka_poll(rk, left ? 1 : 0);
        }
    err = rd_kafka_flush(rk, 60000);
    if (err) DIE("flush: %s", rd_kafka_err2str(err));
    return now_s() - start;
}

static struct { long records; int64_t next[PARTITIONS_MAX]; } consumed;
static void on_record(rd_kafka_message_t *m, void *opaque) {
    (void)opaque;
    if (m->err) DIE("consume: %s", rd_kafka_err2str(m->err));
    if ((long)m->len != bytes) DIE("a record of %zu bytes where %ld were sent", m->len, bytes);
    if (m->offset != consumed.next[m->partition]++) DIE("partition %d: a gap before offset %ld", m->partition, (long)m->offset);
    consumed.records++;
}

static double consume(void) {
    /* The long poll is short: at the end of a pass a fetch is left waiting, and the next pass starts behind it. */
    static const char *const settings[][2] = {{"group.id", "bench"}, {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"}, {"fetch.wait.max.ms", "5"}, {"fetch.queue.backoff.ms", "2"},
        {"queued.min.messages", "1000000"}, {"queued.max.messages.kbytes", "262144"}, {NULL, NULL}};
    rd_kafka_topic_t *rkt;
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, settings, &rkt);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    double elapsed = 0;
    for (long pass = 0; pass < passes; pass++) {
        double start = now_s();
        consumed.records = 0;
        for (int32_t p = 0; p < partitions; p++) {
            consumed.next[p] = first;
            if (rd_kafka_consume_start_queue(rkt, p, first, queue)) DIE("consume_start of partition %d", p);
        }
        while (consumed.records < count) {
            double idle = now_s();
            if (rd_kafka_consume_callback_queue(queue, 1000, on_record, NULL) <= 0 && now_s() - idle > 0.9 && now_s() - start > 30)
                DIE("only %ld of %ld records came", consumed.records, count);
        }
        elapsed += now_s() - start;
        for (int32_t p = 0; p < partitions; p++) rd_kafka_consume_stop(rkt, p);
    }
    return elapsed;
}

int main(int argc, char **argv) {
    struct { const char *name; long *number; const char **text; } settings[] = {
        {"bootstrap", NULL, &bootstrap}, {"topic", NULL, &topic}, {"partitions", &partitions, NULL}, {"count", &count, NULL},
        {"bytes", &bytes, NULL}, {"first", &first, NULL}, {"passes", &passes, NULL}};
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) DIE("not name=value: %s", argv[i]);
        *value++ = 0;
        size_t known = 0;
        while (known < sizeof settings / sizeof *settings && strcmp(argv[i], settings[known].name)) known++;
        if (known == sizeof settings / sizeof *settings) DIE("unknown setting %s", argv[i]);
        if (settings[known].text) *settings[known].text = value;
        else *settings[known].number = atol(value);
    }
    if (argc < 2 || !*bootstrap || !*topic || count < 1 || partitions < 1 || partitions > PARTITIONS_MAX) DIE("usage: bulk produce|consume name=value ...");
    alarm(120);
    double elapsed = !strcmp(argv[1], "produce") ? produce() : consume();
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("{\"elapsed_s\": %.6f, \"records\": %ld, \"client_cpu_s\": %.3f, \"librdkafka\": \"%s\"}\n", elapsed, count * passes,
           (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6, rd_kafka_version_str());
    fflush(stdout);
    _exit(0); /* everything is acknowledged or read: no orderly goodbye is needed */
}
