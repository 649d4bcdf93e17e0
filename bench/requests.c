/* Load on raw sockets: Produce v7, OffsetCommit v7 and Fetch v11 frames built by hand, one thread.
 *
 * A client library costs more per request than a good broker does, so on two shared cores it would be the limit of what
 * is measured. Here a request is one prepared frame whose correlation id is patched, and everything that a wake-up
 * allows goes out in one send.
 *
 *   requests produce port=P topic=T [partitions= connections= inflight= record_bytes= batch_records= seconds= count=]
 *     closed loop: every connection keeps `inflight` requests on the wire, to partition (connection modulo partitions),
 *     for `seconds`, or until `count` requests are answered. Latency is from send to the answer read.
 *   requests commit port=P topic=T [partitions= connections= inflight= groups= seconds= count=]
 *     the same with OffsetCommit v7: each connection commits ever larger offsets of partition (connection modulo
 *     partitions) for one of `groups` groups, as a consumer without a subscription.
 *   requests latency port=P topic=T [record_bytes= rate= seconds=]
 *     open loop: `rate` records a second to partition 0 on one connection, one request each, not waiting for answers;
 *     a second connection fetches them by long poll. Latency is from just before the send to the record parsed. The
 *     first half second is not counted.
 *
 * acks=all always. Every answer is checked (correlation order, error code, offsets that grow); in `latency` also each
 * batch's CRC and that each record comes once and in order. One line of JSON on stdout; anything wrong ends in exit 1
 * and a line on stderr. An alarm bounds the run.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

#define DIE(...) (fprintf(stderr, "requests: " __VA_ARGS__), fputc('\n', stderr), exit(1))
#define DRAIN_SECONDS 20
#define UNCOUNTED_NS 500000000LL

static struct {
    char topic[250];
    long port, partitions, connections, inflight, record_bytes, batch_records, seconds, count, rate, groups;
} opt = {.partitions = 1, .connections = 1, .inflight = 1, .groups = 1, .record_bytes = 1024, .batch_records = 1, .seconds = 5, .rate = 1000};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* ---- bytes ---- */

static uint8_t *put16(uint8_t *p, int v) { uint16_t b = htobe16((uint16_t)v); memcpy(p, &b, 2); return p + 2; }
static uint8_t *put32(uint8_t *p, long v) { uint32_t b = htobe32((uint32_t)v); memcpy(p, &b, 4); return p + 4; }
static uint8_t *put64(uint8_t *p, int64_t v) { uint64_t b = htobe64((uint64_t)v); memcpy(p, &b, 8); return p + 8; }
static uint8_t *put_string(uint8_t *p, const char *s) {
    size_t n = strlen(s);
    memcpy(put16(p, (int)n), s, n);
    return p + 2 + n;
}
static uint8_t *put_varint(uint8_t *p, int64_t v) {
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    for (; z >= 128; z >>= 7) *p++ = (uint8_t)(z | 128);
    *p++ = (uint8_t)z;
    return p;
}

/* A reader over one answer; running past its end is a broken answer. */
static const uint8_t *rp, *rend;
static const uint8_t *take(long n) {
    const uint8_t *p = rp;
    if (n < 0 || n > rend - rp) DIE("answer is shorter than its fields");
    rp += n;
    return p;
}
static int get16(void) { uint16_t b; memcpy(&b, take(2), 2); return (int16_t)be16toh(b); }
static int32_t get32(void) { uint32_t b; memcpy(&b, take(4), 4); return (int32_t)be32toh(b); }
static int64_t get64(void) { uint64_t b; memcpy(&b, take(8), 8); return (int64_t)be64toh(b); }
static int64_t get_varint(void) {
    uint64_t z = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = *take(1);
        z |= (uint64_t)(b & 127) << shift;
        if (b < 128) break;
    }
    return (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
}

static uint32_t crc32c(const uint8_t *p, size_t n) {
#ifdef __SSE4_2__
    uint64_t c = 0xffffffff;
    for (; n >= 8; p += 8, n -= 8) { uint64_t v; memcpy(&v, p, 8); c = _mm_crc32_u64(c, v); }
    uint32_t r = (uint32_t)c;
    for (; n; p++, n--) r = _mm_crc32_u8(r, *p);
    return ~r;
#else
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0x82f63b78 : c >> 1;
            table[i] = c;
        }
    uint32_t r = 0xffffffff;
    for (; n; p++, n--) r = table[(r ^ *p) & 255] ^ (r >> 8);
    return ~r;
#endif
}

/* ---- latencies: 64 linear steps in each power of two, so 1.6 % wide ---- */

static uint64_t buckets[64 * 64], samples, slowest_ns;
static void note_latency(int64_t ns) {
    uint64_t v = ns > 0 ? (uint64_t)ns : 0;
    int e = v < 64 ? 0 : 63 - __builtin_clzll(v) - 5;
    buckets[e * 64 + (v >> e)]++;
    samples++;
    if (v > slowest_ns) slowest_ns = v;
}
static double quantile_us(double q) {
    uint64_t want = (uint64_t)(q * (double)samples), seen = 0;
    for (int i = 0; i < 64 * 64; i++)
        if ((seen += buckets[i]) > want) return (double)((uint64_t)(i & 63) << (i >> 6)) / 1e3;
    return (double)slowest_ns / 1e3;
}
static void print_result(double elapsed_s, long requests, long late) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("{\"elapsed_s\": %.6f, \"requests\": %ld, \"samples\": %lu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"late_sends\": %ld, \"client_cpu_s\": %.3f}\n",
           elapsed_s, requests, (unsigned long)samples, quantile_us(.5), quantile_us(.99), quantile_us(.999), (double)slowest_ns / 1e3, late,
           (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

/* ---- frames ---- */

/* A Produce v7 frame of one batch. value and batch tell where the first record's value and the batch lie in it. */
typedef struct { uint8_t *bytes; size_t length, batch, value; } Frame;

static void seal_batch(Frame *f) {
    uint8_t *b = f->bytes + f->batch;
    put32(b + 17, crc32c(b + 21, f->length - f->batch - 21));
}

static Frame build_produce(long partition) {
    size_t room = 512 + (size_t)opt.batch_records * ((size_t)opt.record_bytes + 32);
    Frame f = {.bytes = malloc(room)};
    uint8_t *p = put16(put16(f.bytes + 4, 0), 7);
    p = put_string(put32(p, 0), "bench");
    p = put32(put16(put16(p, -1), -1), 30000);         /* no transactional id, acks all, timeout */
    p = put32(put_string(put32(p, 1), opt.topic), 1);
    p = put32(p, partition);
    uint8_t *records_length = p, *batch = p + 4;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t timestamp_ms = wall.tv_sec * 1000LL + wall.tv_nsec / 1000000;
    p = put32(put64(batch, 0) + 4, -1);                /* base offset, length comes below, leader epoch */
    *p++ = 2;                                          /* magic */
    p = put16(p + 4, 0);                               /* CRC comes last; no attributes */
    p = put64(put64(put32(p, opt.batch_records - 1), timestamp_ms), timestamp_ms);
    p = put32(put32(put16(put64(p, -1), -1), -1), opt.batch_records);
    unsigned long long x = 88172645463325252ULL + (unsigned long long)partition;
    for (long i = 0; i < opt.batch_records; i++) {
        uint8_t body[32], *b = body;
        *b++ = 0;
        b = put_varint(put_varint(put_varint(put_varint(b, 0), i), -1), opt.record_bytes);
        p = put_varint(p, (b - body) + opt.record_bytes + 1);
        memcpy(p, body, (size_t)(b - body));
        p += b - body;
        if (!i) f.value = (size_t)(p - f.bytes);
        for (long k = 0; k < opt.record_bytes; k++) { x ^= x << 13; x ^= x >> 7; x ^= x << 17; *p++ = (uint8_t)x; }
        *p++ = 0;                                      /* no headers */
    }
    f.batch = (size_t)(batch - f.bytes);
    f.length = (size_t)(p - f.bytes);
    put32(f.bytes, (long)f.length - 4);
    put32(records_length, p - batch);
    put32(batch + 8, p - batch - 12);
    seal_batch(&f);
    return f;
}

/* An OffsetCommit v7 frame of one partition; value is where the offset lies. */
static Frame build_commit(long connection) {
    Frame f = {.bytes = malloc(1024)};
    char group[300];
    snprintf(group, sizeof group, "%s-%ld", opt.topic, connection % opt.groups);
    uint8_t *p = put16(put16(f.bytes + 4, 8), 7);
    p = put_string(put32(p, 0), "bench");
    p = put16(put_string(put32(put_string(p, group), -1), ""), -1); /* no generation, no member, no instance */
    p = put32(put_string(put32(p, 1), opt.topic), 1);
    p = put32(p, connection % opt.partitions);
    f.value = (size_t)(p - f.bytes);
    p = put_string(put32(put64(p, 0), -1), "");                     /* offset, no leader epoch, no metadata */
    f.length = (size_t)(p - f.bytes);
    put32(f.bytes, (long)f.length - 4);
    return f;
}

/* Checks one OffsetCommit v7 answer from after its size; returns a number that grows, as check_produced does. */
static int64_t check_committed(const uint8_t *answer, long length, int32_t correlation_id) {
    rp = answer;
    rend = answer + length;
    if (get32() != correlation_id) DIE("answers out of order");
    get32();
    if (get32() != 1) DIE("one topic expected in an OffsetCommit answer");
    take(get16());
    if (get32() != 1) DIE("one partition expected in an OffsetCommit answer");
    int partition = get32(), error = get16();
    if (error) DIE("the commit of partition %d answered error %d", partition, error);
    return correlation_id;
}

/* Checks one Produce v7 answer from after its size; returns the base offset. */
static int64_t check_produced(const uint8_t *answer, long length, int32_t correlation_id) {
    rp = answer;
    rend = answer + length;
    if (get32() != correlation_id) DIE("answers out of order");
    if (get32() != 1) DIE("one topic expected in a Produce answer");
    take(get16());
    if (get32() != 1) DIE("one partition expected in a Produce answer");
    int partition = get32(), error = get16();
    if (error) DIE("Produce to partition %d answered error %d", partition, error);
    int64_t base_offset = get64();
    get64();
    get64();
    get32();
    return base_offset;
}

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) DIE("connect: %s", strerror(errno));
    return fd;
}

static void send_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0) DIE("send: %s", strerror(errno));
        p += k;
        n -= (size_t)k;
    }
}

/* Answers as they come from one socket: fill() reads once, next_answer() hands out the complete ones. */
typedef struct { int fd; uint8_t *bytes; size_t room, start, end; } Inbox;

static int fill(Inbox *in, int flags) {
    if (in->start) {
        memmove(in->bytes, in->bytes + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    if (in->end == in->room) in->bytes = realloc(in->bytes, in->room = in->room ? in->room * 2 : 65536);
    ssize_t n = recv(in->fd, in->bytes + in->end, in->room - in->end, flags);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) DIE("the broker closed the connection: %s", n ? strerror(errno) : "end of stream");
    in->end += (size_t)n;
    return 1;
}
static const uint8_t *next_answer(Inbox *in, long *length) {
    if (in->end - in->start < 4) return NULL;
    uint32_t b;
    memcpy(&b, in->bytes + in->start, 4);
    *length = be32toh(b);
    if (in->end - in->start < 4 + (size_t)*length) return NULL;
    const uint8_t *p = in->bytes + in->start + 4;
    in->start += 4 + (size_t)*length;
    return p;
}

/* ---- closed loop ---- */

static int committing;

typedef struct {
    Inbox in;
    Frame frame;
    uint8_t *out;
    size_t out_start, out_end;
    int32_t sent, answered;
    int waits_writable;
    int64_t base_offset, *sent_ns;
} Connection;

static void push(Connection *c, int poller) {
    while (c->out_start < c->out_end) {
        ssize_t n = send(c->in.fd, c->out + c->out_start, c->out_end - c->out_start, MSG_NOSIGNAL | (poller >= 0 ? MSG_DONTWAIT : 0));
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) DIE("send: %s", strerror(errno));
        c->out_start += (size_t)n;
    }
    int full = c->out_start < c->out_end;
    if (!full) c->out_start = c->out_end = 0;
    if (poller >= 0 && full != c->waits_writable) {
        struct epoll_event e = {.events = EPOLLIN | (full ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->in.fd, &e);
        c->waits_writable = full;
    }
}

static void queue_one(Connection *c, int64_t now) {
    if (c->out_start && c->out_end + c->frame.length > (size_t)opt.inflight * c->frame.length) {
        memmove(c->out, c->out + c->out_start, c->out_end - c->out_start);
        c->out_end -= c->out_start;
        c->out_start = 0;
    }
    put32(c->frame.bytes + 8, c->sent);
    if (committing) put64(c->frame.bytes + c->frame.value, c->sent + 1);
    memcpy(c->out + c->out_end, c->frame.bytes, c->frame.length);
    c->out_end += c->frame.length;
    c->sent_ns[c->sent++ % opt.inflight] = now;
}

static void run_closed(void) {
    Connection *connections = calloc((size_t)opt.connections, sizeof *connections);
    int poller = opt.connections > 1 ? epoll_create1(0) : -1; /* one connection: plain blocking calls, two a request */
    for (long i = 0; i < opt.connections; i++) {
        Connection *c = &connections[i];
        c->in.fd = dial();
        c->frame = committing ? build_commit(i) : build_produce(i % opt.partitions);
        c->out = malloc((size_t)opt.inflight * c->frame.length);
        c->sent_ns = calloc((size_t)opt.inflight, sizeof *c->sent_ns);
        c->base_offset = -1;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (poller >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, c->in.fd, &e)) DIE("epoll_ctl: %s", strerror(errno));
    }
    int64_t start = now_ns(), now = start, deadline = start + (opt.count ? 3600 : opt.seconds) * 1000000000LL;
    long sent = 0, answered = 0;
    for (long i = 0; i < opt.connections; i++) {
        for (long k = 0; k < opt.inflight && (!opt.count || sent < opt.count); k++, sent++) queue_one(&connections[i], now);
        push(&connections[i], poller);
    }
    struct epoll_event events[256];
    while (answered < sent) {
        int ready = 1;
        if (poller >= 0 && (ready = epoll_wait(poller, events, 256, 1000)) < 0) DIE("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < ready; i++) {
            Connection *c = poller >= 0 ? events[i].data.ptr : connections;
            if (poller < 0 || events[i].events & ~(uint32_t)EPOLLOUT) fill(&c->in, poller >= 0 ? MSG_DONTWAIT : 0);
            now = now_ns();
            long length;
            const uint8_t *answer;
            while ((answer = next_answer(&c->in, &length))) {
                int64_t base_offset = (committing ? check_committed : check_produced)(answer, length, c->answered);
                if (base_offset <= c->base_offset) DIE("offset %ld after %ld", (long)base_offset, (long)c->base_offset);
                c->base_offset = base_offset;
                note_latency(now - c->sent_ns[c->answered++ % opt.inflight]);
                answered++;
                if (now < deadline && (!opt.count || sent < opt.count)) {
                    queue_one(c, now);
                    sent++;
                }
            }
            push(c, poller);
        }
    }
    print_result((double)(now_ns() - start) / 1e9, answered, 0);
}

/* ---- open loop ---- */

static void send_fetch(int fd, int64_t offset) {
    static int32_t correlation_id;
    uint8_t frame[512], *p = put32(put16(put16(frame + 4, 1), 11), correlation_id++);
    p = put_string(p, "bench");
    p = put32(put32(put32(put32(p, -1), 500), 1), 50 << 20); /* replica, max wait ms, min bytes, max bytes */
    *p++ = 0;
    p = put32(put32(p, 0), -1);                              /* no session */
    p = put32(put_string(put32(p, 1), opt.topic), 1);
    p = put32(put64(put64(put32(put32(p, 0), -1), offset), -1), 1 << 20);
    p = put_string(put32(p, 0), "");
    put32(frame, p - frame - 4);
    send_all(fd, frame, (size_t)(p - frame));
}

/* Parses one Fetch v11 answer. Records' values start with their send time and their number. Returns the next offset. */
static int64_t check_fetched(const uint8_t *answer, long length, int64_t offset, int64_t *number, int64_t count_from) {
    rp = answer;
    rend = answer + length;
    get32();
    get32();
    int error = get16();
    if (error) DIE("Fetch answered error %d", error);
    get32();
    if (get32() != 1) DIE("one topic expected in a Fetch answer");
    take(get16());
    if (get32() != 1) DIE("one partition expected in a Fetch answer");
    get32();
    if ((error = get16())) DIE("Fetch of the partition answered error %d", error);
    get64();
    get64();
    get64();
    int aborted = get32();
    if (aborted > 0) DIE("no aborted transactions expected");
    get32();
    int32_t bytes = get32();
    const uint8_t *end = bytes > 0 ? rp + bytes : rp;
    if (end > rend) DIE("records run over the answer");
    while (end - rp >= 61) {
        const uint8_t *batch = rp;
        int64_t base_offset = get64();
        int32_t batch_length = get32();
        if (batch_length < 49 || batch_length > end - rp) break; /* cut by max bytes: asked for again */
        take(5);
        uint32_t crc = (uint32_t)get32();
        if (crc32c(rp, (size_t)(batch + 12 + batch_length - rp)) != crc) DIE("CRC of the batch at %ld is wrong", (long)base_offset);
        take(2);
        int32_t last_delta = get32();
        take(30);
        int32_t records = get32();
        int64_t now = now_ns();
        for (; records > 0; records--) {
            int64_t body = get_varint();
            const uint8_t *next = rp + body;
            take(1);
            get_varint();
            get_varint();
            if (get_varint() != -1 || get_varint() != opt.record_bytes) DIE("a record that was not sent");
            int64_t sent = get64();
            if (get64() != *number) DIE("record %ld missing or out of order", (long)*number);
            ++*number;
            if (sent >= count_from) note_latency(now - sent);
            rp = next;
        }
        offset = base_offset + last_delta + 1;
        rp = batch + 12 + batch_length;
    }
    return offset;
}

static void run_latency(void) {
    Frame frame = build_produce(0);
    Inbox produced = {.fd = dial()}, fetched = {.fd = dial()};
    int timer = timerfd_create(CLOCK_MONOTONIC, 0), poller = epoll_create1(0);
    prctl(PR_SET_TIMERSLACK, 1);
    struct epoll_event e = {.events = EPOLLIN};
    int fds[] = {timer, produced.fd, fetched.fd};
    for (int i = 0; i < 3; i++) {
        e.data.fd = fds[i];
        epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &e);
    }
    long total = opt.rate * opt.seconds, sent = 0, acknowledged = 0, late = 0;
    int64_t step = 1000000000LL / opt.rate, start = now_ns() + step, offset = 0, number = 0, last_base_offset = -1;
    struct itimerspec every = {.it_value = {start / 1000000000, start % 1000000000}, .it_interval = {step / 1000000000, step % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, NULL);
    send_fetch(fetched.fd, offset);
    struct epoll_event events[3];
    while (acknowledged < total || number < total) {
        int ready = epoll_wait(poller, events, 3, 1000);
        if (ready < 0) DIE("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < ready; i++) {
            long length;
            const uint8_t *answer;
            if (events[i].data.fd == timer) {
                uint64_t due;
                if (read(timer, &due, 8) != 8) DIE("timer: %s", strerror(errno));
                for (; due && sent < total; due--, sent++) {
                    int64_t now = now_ns();
                    late += now - (start + sent * step) > 1000000;
                    put64(put64(frame.bytes + frame.value, now), sent);
                    put32(frame.bytes + 8, sent);
                    seal_batch(&frame);
                    send_all(produced.fd, frame.bytes, frame.length);
                }
            } else if (events[i].data.fd == produced.fd) {
                fill(&produced, MSG_DONTWAIT);
                while ((answer = next_answer(&produced, &length))) {
                    int64_t base_offset = check_produced(answer, length, (int32_t)acknowledged++);
                    if (base_offset <= last_base_offset) DIE("offset %ld after %ld", (long)base_offset, (long)last_base_offset);
                    last_base_offset = base_offset;
                }
            } else {
                fill(&fetched, MSG_DONTWAIT);
                while ((answer = next_answer(&fetched, &length))) {
                    offset = check_fetched(answer, length, offset, &number, start + UNCOUNTED_NS);
                    if (number < total) send_fetch(fetched.fd, offset);
                }
            }
        }
    }
    print_result((double)(now_ns() - start) / 1e9, acknowledged, late);
}

int main(int argc, char **argv) {
    struct { const char *name; long *place; } numbers[] = {
        {"port", &opt.port}, {"partitions", &opt.partitions}, {"connections", &opt.connections}, {"inflight", &opt.inflight},
        {"record_bytes", &opt.record_bytes}, {"batch_records", &opt.batch_records}, {"seconds", &opt.seconds}, {"count", &opt.count}, {"rate", &opt.rate}, {"groups", &opt.groups}};
    if (argc < 2) DIE("usage: requests produce|commit|latency name=value ...");
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) DIE("not name=value: %s", argv[i]);
        *value++ = 0;
        size_t known = 0;
        if (!strcmp(argv[i], "topic")) {
            snprintf(opt.topic, sizeof opt.topic, "%s", value);
            continue;
        }
        while (known < sizeof numbers / sizeof *numbers && strcmp(argv[i], numbers[known].name)) known++;
        if (known == sizeof numbers / sizeof *numbers) DIE("unknown setting %s", argv[i]);
        *numbers[known].place = atol(value);
    }
    if (!opt.port || !*opt.topic) DIE("port and topic are needed");
    if (opt.record_bytes < 16) DIE("record_bytes is at least 16");
    alarm((unsigned)(opt.count ? 600 : opt.seconds + DRAIN_SECONDS));
    committing = !strcmp(argv[1], "commit");
    if (committing || !strcmp(argv[1], "produce")) run_closed();
    else if (!strcmp(argv[1], "latency")) run_latency();
    else DIE("unknown load %s", argv[1]);
    return 0;
}
