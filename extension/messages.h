/* A remote procedure call under way: its error, its messages, and how they go over a socket. Knows no server and no
 * DuckDB. docs/shell.md describes what goes over the wire. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#define ABSENT UINT32_MAX
#define POLL_MS 100
#define ERROR_BYTES 1024

typedef struct {
	char *bytes;
	size_t used, room;
} Buffer;

typedef struct {
	const char *address;
	sig_atomic_t interrupts_before;
	char error[ERROR_BYTES];
} Rpc;

static bool fail(Rpc *rpc, const char *format, ...) {
	va_list values;
	va_start(values, format);
	int size = vsnprintf(rpc->error, ERROR_BYTES, format, values);
	va_end(values);
	if (size >= ERROR_BYTES) { /* cut off, perhaps within a character */
		char *end = rpc->error + ERROR_BYTES - 1;
		while ((end[-1] & 0xC0) == 0x80) {
			end--;
		}
		end[(end[-1] & 0x80) ? -1 : 0] = '\0';
	}
	return false;
}

static bool reserve(Rpc *rpc, Buffer *buffer, size_t size) {
	size_t room = buffer->room ? buffer->room : 65536;
	while (room < buffer->used + size) {
		room *= 2;
	}
	if (room != buffer->room) {
		char *bytes = realloc(buffer->bytes, room);
		if (bytes == NULL) {
			return fail(rpc, "sqlinfer: no memory for a message of %zu bytes", room);
		}
		buffer->bytes = bytes;
		buffer->room = room;
	}
	return true;
}

static void put_size(char *at, uint32_t size) {
	for (int i = 0; i < 4; i++) {
		at[i] = (char)(size >> (8 * i));
	}
}

static uint32_t get_size(const char *at) {
	const unsigned char *bytes = (const unsigned char *)at;
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* A text of a message: its size, then its bytes; text NULL is absent. */
static bool put_text(Rpc *rpc, Buffer *buffer, const char *text, uint32_t size) {
	if (!reserve(rpc, buffer, 4 + (size_t)(text ? size : 0))) {
		return false;
	}
	put_size(buffer->bytes + buffer->used, text ? size : ABSENT);
	buffer->used += 4;
	if (text) {
		memcpy(buffer->bytes + buffer->used, text, size);
		buffer->used += size;
	}
	return true;
}

static bool is_interrupted(Rpc *rpc) {
	if (interrupts == rpc->interrupts_before) {
		return false;
	}
	fail(rpc, "interrupted; sqlinfer keeps every finished answer. Run the same statement again to go on");
	return true;
}

static bool wait_until(Rpc *rpc, int socket, short events) {
	struct pollfd watched = {socket, events, 0};
	while (!is_interrupted(rpc)) {
		int ready = poll(&watched, 1, POLL_MS);
		if (ready > 0) {
			return true;
		}
		if (ready < 0 && errno != EINTR) {
			return fail(rpc, "sqlinfer: %s", strerror(errno));
		}
	}
	return false;
}

static bool lost(Rpc *rpc) {
	return fail(rpc,
	            "the sqlinfer server at %s went away in mid-query; every finished answer is kept. Start it again "
	            "(sqlinfer serve; sqlinfer shell does so by itself) and run the same statement to go on",
	            rpc->address);
}

static bool send_all(Rpc *rpc, int socket, const char *bytes, size_t size) {
	while (size > 0) {
		ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
		if (sent > 0) {
			bytes += sent;
			size -= (size_t)sent;
		} else if (errno == EAGAIN || errno == EINTR) {
			if (!wait_until(rpc, socket, POLLOUT)) {
				return false;
			}
		} else {
			return lost(rpc);
		}
	}
	return true;
}

static bool receive(Rpc *rpc, int socket, char *bytes, size_t size) {
	while (size > 0) {
		ssize_t got = recv(socket, bytes, size, 0);
		if (got > 0) {
			bytes += got;
			size -= (size_t)got;
		} else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_until(rpc, socket, POLLIN)) {
				return false;
			}
		} else {
			return lost(rpc);
		}
	}
	return true;
}

/* Send one message and take the one that answers it. message: begins with four bytes for its size. */
static bool exchange(Rpc *rpc, int socket, Buffer *message, Buffer *answer) {
	char size[4];
	if (message->used - 4 >= ABSENT) {
		return fail(rpc, "sqlinfer: a chunk of rows has more than 4 GB of text");
	}
	put_size(message->bytes, (uint32_t)(message->used - 4));
	if (!send_all(rpc, socket, message->bytes, message->used) || !receive(rpc, socket, size, 4)) {
		return false;
	}
	answer->used = 0;
	if (!reserve(rpc, answer, get_size(size)) || !receive(rpc, socket, answer->bytes, get_size(size))) {
		return false;
	}
	answer->used = get_size(size);
	return true;
}

static bool not_understood(Rpc *rpc) {
	return fail(rpc, "sqlinfer: %s answers in a way that is not understood; is it a sqlinfer server?", rpc->address);
}

static bool is_utf8(const char *text, uint32_t size) {
	const unsigned char *at = (const unsigned char *)text, *end = at + size;
	while (at < end) {
		uint32_t code = *at++;
		int num_more = code < 0x80 ? 0 : code >= 0xF0 ? 3 : code >= 0xE0 ? 2 : 1;
		uint32_t least = num_more == 3 ? 0x10000 : num_more == 2 ? 0x800 : num_more == 1 ? 0x80 : 0;
		if ((code >= 0x80 && code < 0xC2) || code > 0xF4 || end - at < num_more) {
			return false;
		}
		code &= num_more == 0 ? 0x7F : 0x3F >> num_more;
		for (int i = 0; i < num_more; i++, at++) {
			if ((*at & 0xC0) != 0x80) {
				return false;
			}
			code = code << 6 | (*at & 0x3F);
		}
		if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
			return false;
		}
	}
	return true;
}

/* The next text of a message, at `at`; moves `at` behind it. */
static bool next_text(Rpc *rpc, const Buffer *message, size_t *at, const char **text, uint32_t *size) {
	if (message->used - *at >= 4) {
		*size = get_size(message->bytes + *at);
		*at += 4;
		*text = *size == ABSENT ? NULL : message->bytes + *at;
		if (*text == NULL) {
			return true;
		}
		if (message->used - *at >= *size && is_utf8(*text, *size)) {
			*at += *size;
			return true;
		}
	}
	return not_understood(rpc);
}

/* Whether an answer begins with "ok". If it is an error, the whole of it, *error is its text. */
static bool is_ok(Rpc *rpc, const Buffer *answer, size_t *at, char **error) {
	const char *text;
	uint32_t size;
	if (!next_text(rpc, answer, at, &text, &size)) {
		return false;
	}
	if (text != NULL && size == 2 && memcmp(text, "ok", 2) == 0) {
		return true;
	}
	bool is_error = text != NULL && size == 5 && memcmp(text, "error", 5) == 0;
	if (!is_error || !next_text(rpc, answer, at, &text, &size) || text == NULL || *at != answer->used) {
		return not_understood(rpc);
	}
	if ((*error = malloc((size_t)size + 1)) != NULL) {
		memcpy(*error, text, size);
		(*error)[size] = '\0';
	}
	return false;
}
