/*
 * A network namespace of its own with two TUN devices, in0 and out0, and a shell script that sets it up. Whatever is written here
 * comes out of the box that the script makes, or not.
 *
 *   tun SCRIPT
 *
 * A record is a device (0: in0, 1: out0), a length in two bytes, network order, and a packet that starts with its IP header. For each
 * record from standard input the packet enters by that device; what leaves by either goes to standard output as records, and then
 * one of device 255 and length 0. The first record written is such an end, after the script. A record of device 254 and length 0
 * makes the kernel forget all connections. The namespace goes with the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

/* Forwarding is done before write() returns; this is for what the kernel does later, such as its own ICMP. */
#define QUIET_MS 3
#define MOST_POLLS 100

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_tun(const char *name) {
  struct ifreq request;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("/dev/net/tun");
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
  return fd;
}

static void set_up(const char *script) {
  pid_t child = fork();
  int status;
  if (child < 0) fail("fork");
  if (child == 0) {
    dup2(2, 1);
    execl("/bin/sh", "sh", "-e", script, (char *)NULL);
    _exit(127);
  }
  if (waitpid(child, &status, 0) < 0 || status != 0) {
    fprintf(stderr, "%s failed\n", script);
    exit(1);
  }
}

/* Deletes every entry of the connection table: a request without attributes. */
static void forget_connections(void) {
  struct {
    struct nlmsghdr head;
    struct nfgenmsg body;
  } request = {
      .head = {.nlmsg_len = sizeof request,
               .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
               .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .body = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0},
  };
  struct {
    struct nlmsghdr head;
    struct nlmsgerr body;
  } answer;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0 || send(fd, &request, sizeof request, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) fail("netlink");
  errno = -answer.body.error;
  if (errno != 0) fail("conntrack");
  close(fd);
}

static int read_whole(void *to, size_t bytes) {
  char *at = to;
  while (bytes > 0) {
    ssize_t got = read(0, at, bytes);
    if (got <= 0) return 0;
    at += got;
    bytes -= (size_t)got;
  }
  return 1;
}

static void write_whole(const void *from, size_t bytes) {
  const char *at = from;
  while (bytes > 0) {
    ssize_t put = write(1, at, bytes);
    if (put <= 0) exit(0);
    at += put;
    bytes -= (size_t)put;
  }
}

static void put_record(uint8_t device, const uint8_t *packet, size_t bytes) {
  uint8_t head[3] = {device, (uint8_t)(bytes >> 8), (uint8_t)bytes};
  write_whole(head, sizeof head);
  write_whole(packet, bytes);
}

static void collect(struct pollfd devices[2]) {
  static uint8_t packet[65536];
  for (int n = 0; n < MOST_POLLS && poll(devices, 2, QUIET_MS) > 0; n++) {
    for (int device = 0; device < 2; device++) {
      ssize_t got = read(devices[device].fd, packet, sizeof packet);
      if (got > 0 && got < 65536) put_record((uint8_t)device, packet, (size_t)got);
    }
  }
  put_record(255, packet, 0);
}

int main(int argc, char **argv) {
  static uint8_t packet[65536];
  struct pollfd devices[2];
  uint8_t head[3];
  if (argc != 2) {
    fprintf(stderr, "usage: tun SCRIPT\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (unshare(CLONE_NEWNET) < 0) fail("no network namespace");
  devices[0] = (struct pollfd){.fd = open_tun("in0"), .events = POLLIN};
  devices[1] = (struct pollfd){.fd = open_tun("out0"), .events = POLLIN};
  set_up(argv[1]);
  collect(devices);
  while (read_whole(head, sizeof head)) {
    size_t bytes = (size_t)head[1] << 8 | head[2];
    if (head[0] == 254) {
      forget_connections();
      collect(devices);
      continue;
    }
    if (head[0] > 1 || !read_whole(packet, bytes)) return 1;
    /* A packet that the device refuses (no IP version) is one that the box drops. */
    if (write(devices[head[0]].fd, packet, bytes) < 0 && errno != EINVAL) fail("write");
    collect(devices);
  }
  return 0;
}
