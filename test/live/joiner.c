/*
 * Sends frames as a host beside the box does that leaves cutting and checksums to hardware: joiner INTERFACE. From its standard input it
 * takes, for each, two octets of length (in the order of the machine), a virtio_net_hdr and the frame; the length is that of both.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

int main(int count, char **words) {
  static uint8_t frame[65535];
  if (count < 2) return 2;
  int fd = socket(AF_PACKET, SOCK_RAW, 0), yes = 1, bytes = 32 << 20;
  struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex(words[1]) };
  if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) < 0) die("PACKET_VNET_HDR");
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  for (uint16_t length; fread(&length, sizeof length, 1, stdin) == 1;) {
    if (fread(frame, length, 1, stdin) != 1) die("input");
    if (sendto(fd, frame, length, 0, (struct sockaddr *)&to, sizeof to) < 0) die("sendto");
  }
  return 0;
}
