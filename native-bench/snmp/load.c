/*
 * Load on an SNMP agent: sends messages that were sealed before, keeps a number of them under way, and measures when answers come.
 *   load HOST PORT FILE WINDOW WARM
 * FILE holds messages, each behind its length in 4 octets, big-endian; their msgIDs count from 1. Prints one line of JSON. A message
 * that is not answered in two seconds is lost; an answer that is not authenticated and encrypted is a report, and counted apart.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Passes over tag and length; the length of the content. */
static unsigned head(const uint8_t **p)
{
	unsigned length = (*p)[1];
	*p += 2;
	if (length & 0x80) {
		unsigned many = length & 0x7f;
		length = 0;
		while (many--)
			length = length << 8 | *(*p)++;
	}
	return length;
}

static uint32_t integer(const uint8_t **p)
{
	unsigned length = head(p);
	uint32_t value = 0;
	while (length--)
		value = value << 8 | *(*p)++;
	return value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "load HOST PORT FILE WINDOW WARM\n");
		return 2;
	}
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	FILE *file = fopen(argv[3], "rb");
	if (!file)
		die(argv[3]);
	fseek(file, 0, SEEK_END);
	size_t bytes = ftell(file), count = 0;
	rewind(file);
	uint8_t *all = malloc(bytes);
	if (!all || fread(all, 1, bytes, file) != bytes)
		die(argv[3]);
	for (size_t at = 0; at < bytes; count++)
		at += 4 + (all[at] << 24 | all[at + 1] << 16 | all[at + 2] << 8 | all[at + 3]);
	unsigned window = atoi(argv[4]), warm = atoi(argv[5]);
	double *sent = calloc(count + 1, sizeof *sent), *took = calloc(count + 1, sizeof *took);
	int s = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
	struct timeval wait = { .tv_sec = 2 };
	if (s < 0 || connect(s, (void *)&to, sizeof to) < 0)
		die("connect");
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);

	size_t next = 0, answered = 0, measured = 0, reports = 0, at = 0, lost = 0;
	unsigned flying = 0;
	double start = 0, end = 0;
	uint8_t answer[65536];
	while (next < count || flying > 0) {
		while (flying < window && next < count) {
			size_t length = all[at] << 24 | all[at + 1] << 16 | all[at + 2] << 8 | all[at + 3];
			sent[++next] = now();
			if (send(s, all + at + 4, length, 0) < 0 && errno != ECONNREFUSED)
				die("send");
			at += 4 + length;
			flying++;
		}
		ssize_t got = recv(s, answer, sizeof answer, 0);
		if (got < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				die("recv");
			lost += flying;
			flying = 0;
			continue;
		}
		double t = now();
		const uint8_t *p = answer;
		head(&p);
		integer(&p);
		head(&p);
		uint32_t id = integer(&p);
		integer(&p);
		head(&p);
		if (id == 0 || id > count || took[id] != 0)
			continue;
		reports += (*p & 3) != 3;
		took[id] = t - sent[id];
		if (flying > 0)
			flying--;
		if (++answered == warm)
			start = t;
		end = t;
	}
	double *list = calloc(count + 1, sizeof *list);
	for (size_t id = 1; id <= count; id++)
		if (id > warm && took[id] > 0)
			list[measured++] = took[id];
	qsort(list, measured, sizeof *list, by_value);
	if (measured == 0)
		measured = 1;
	printf("{\"answered\":%zu,\"lost\":%zu,\"reports\":%zu,\"perSecond\":%.1f,\"p50\":%.1f,\"p99\":%.1f}\n", answered, lost, reports,
	       answered > warm && end > start ? (answered - warm) / (end - start) : 0, list[measured / 2] * 1e6,
	       list[(size_t)(measured * 0.99)] * 1e6);
	return 0;
}
