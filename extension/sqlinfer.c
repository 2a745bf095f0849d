/* The DuckDB extension of sqlinfer: one scalar function that hands its rows to a sqlinfer server, chunk by chunk.
 *
 *   __sqlinfer_call(address, context, function, options, arguments) -> VARCHAR
 *
 * The first three are the same in all rows; options and arguments are JSON. It knows no function of sqlinfer and
 * reads no JSON: `sqlinfer shell` makes macros over it that give the functions their names, defaults and types.
 * Needs the stable C API of DuckDB 1.2 and POSIX, nothing else. docs/shell.md describes what goes over the wire.
 */
#include "duckdb_extension.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

DUCKDB_EXTENSION_EXTERN

#define COLUMNS 5
#define ABSENT UINT32_MAX
#define POLL_MS 100
#define ERROR_BYTES 1024

enum { ADDRESS, CONTEXT, FUNCTION, OPTIONS, ARGUMENTS };

/* ---- Ctrl-C: while calls wait, our handler stands before the program's own ---- */

static volatile sig_atomic_t interrupts;
static struct sigaction program_action;
static int num_waiting;
static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;

static void on_interrupt(int number, siginfo_t *info, void *machine) {
	interrupts++;
	if (program_action.sa_flags & SA_SIGINFO) {
		program_action.sa_sigaction(number, info, machine);
	} else if (program_action.sa_handler == SIG_DFL) {
		signal(number, SIG_DFL);
		raise(number);
	} else if (program_action.sa_handler != SIG_IGN) {
		program_action.sa_handler(number);
	}
}

static void begin_waiting(void) {
	pthread_mutex_lock(&waiting_lock);
	if (num_waiting++ == 0) {
		struct sigaction ours;
		memset(&ours, 0, sizeof ours);
		ours.sa_sigaction = on_interrupt;
		ours.sa_flags = SA_SIGINFO | SA_RESTART;
		sigemptyset(&ours.sa_mask);
		sigaction(SIGINT, NULL, &program_action);
		sigaction(SIGINT, &ours, NULL);
	}
	pthread_mutex_unlock(&waiting_lock);
}

static void end_waiting(void) {
	struct sigaction now;
	pthread_mutex_lock(&waiting_lock);
	if (--num_waiting == 0 && sigaction(SIGINT, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
	    now.sa_sigaction == on_interrupt) {
		sigaction(SIGINT, &program_action, NULL);
	}
	pthread_mutex_unlock(&waiting_lock);
}

/* ---- A call under way: its bytes, its error ---- */

typedef struct {
	char *bytes;
	size_t used, room;
} Buffer;

typedef struct {
	const char *address;
	sig_atomic_t interrupts_before;
	char error[ERROR_BYTES];
} Call;

static bool fail(Call *call, const char *format, ...) {
	va_list values;
	va_start(values, format);
	vsnprintf(call->error, ERROR_BYTES, format, values);
	va_end(values);
	return false;
}

static bool reserve(Call *call, Buffer *buffer, size_t size) {
	size_t room = buffer->room ? buffer->room : 65536;
	while (room < buffer->used + size) {
		room *= 2;
	}
	if (room != buffer->room) {
		char *bytes = realloc(buffer->bytes, room);
		if (bytes == NULL) {
			return fail(call, "sqlinfer: no memory for a message of %zu bytes", room);
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
static bool put_text(Call *call, Buffer *buffer, const char *text, uint32_t size) {
	if (!reserve(call, buffer, 4 + (size_t)(text ? size : 0))) {
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

/* ---- Lines: open sockets, kept for the next call ---- */

typedef struct Line {
	int socket;
	struct Line *next;
	char address[];
} Line;

static Line *idle_lines;
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;

static void hang_up(Line *line) {
	close(line->socket);
	free(line);
}

static void keep(Line *line) {
	pthread_mutex_lock(&lines_lock);
	line->next = idle_lines;
	idle_lines = line;
	pthread_mutex_unlock(&lines_lock);
}

static Line *idle_line(const char *address) {
	Line *found = NULL;
	pthread_mutex_lock(&lines_lock);
	for (Line **at = &idle_lines; *at != NULL; at = &(*at)->next) {
		if (strcmp((*at)->address, address) == 0) {
			found = *at;
			*at = found->next;
			break;
		}
	}
	pthread_mutex_unlock(&lines_lock);
	return found;
}

/* Nothing is owed on an idle line, so that what can be read is its end. */
static bool is_open(Line *line) {
	struct pollfd watched = {line->socket, POLLIN, 0};
	return poll(&watched, 1, 0) == 0;
}

static bool is_interrupted(Call *call) {
	if (interrupts == call->interrupts_before) {
		return false;
	}
	fail(call, "interrupted; sqlinfer keeps every finished answer. Run the same statement again to go on");
	return true;
}

static bool wait_until(Call *call, int socket, short events) {
	struct pollfd watched = {socket, events, 0};
	while (!is_interrupted(call)) {
		int ready = poll(&watched, 1, POLL_MS);
		if (ready > 0) {
			return true;
		}
		if (ready < 0 && errno != EINTR) {
			return fail(call, "sqlinfer: %s", strerror(errno));
		}
	}
	return false;
}

static bool lost(Call *call) {
	return fail(call,
	            "the sqlinfer server at %s went away in mid-query; every finished answer is kept. Start it again "
	            "(sqlinfer serve; sqlinfer shell does so by itself) and run the same statement to go on",
	            call->address);
}

static bool send_all(Call *call, int socket, const char *bytes, size_t size) {
	while (size > 0) {
		ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
		if (sent > 0) {
			bytes += sent;
			size -= (size_t)sent;
		} else if (errno == EAGAIN || errno == EINTR) {
			if (!wait_until(call, socket, POLLOUT)) {
				return false;
			}
		} else {
			return lost(call);
		}
	}
	return true;
}

static bool receive(Call *call, int socket, char *bytes, size_t size) {
	while (size > 0) {
		ssize_t got = recv(socket, bytes, size, 0);
		if (got > 0) {
			bytes += got;
			size -= (size_t)got;
		} else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_until(call, socket, POLLIN)) {
				return false;
			}
		} else {
			return lost(call);
		}
	}
	return true;
}

/* Send one message and take the one that answers it. message: begins with four bytes for its size. */
static bool exchange(Call *call, int socket, Buffer *message, Buffer *answer) {
	char size[4];
	if (message->used - 4 >= ABSENT) {
		return fail(call, "sqlinfer: a chunk of rows has more than 4 GB of text");
	}
	put_size(message->bytes, (uint32_t)(message->used - 4));
	if (!send_all(call, socket, message->bytes, message->used) || !receive(call, socket, size, 4)) {
		return false;
	}
	answer->used = 0;
	if (!reserve(call, answer, get_size(size)) || !receive(call, socket, answer->bytes, get_size(size))) {
		return false;
	}
	answer->used = get_size(size);
	return true;
}

/* The next text of a message, at `at`; moves `at` behind it. */
static bool next_text(Call *call, const Buffer *message, size_t *at, const char **text, uint32_t *size) {
	if (message->used - *at >= 4) {
		*size = get_size(message->bytes + *at);
		*at += 4;
		*text = *size == ABSENT ? NULL : message->bytes + *at;
		if (*text == NULL || message->used - *at >= *size) {
			*at += *text == NULL ? 0 : *size;
			return true;
		}
	}
	return fail(call, "sqlinfer: %s answers in a way that is not understood; is it a sqlinfer server?", call->address);
}

/* Whether an answer begins with "ok"; else the error is the text that follows. */
static bool is_ok(Call *call, const Buffer *answer, size_t *at, char **error) {
	const char *text;
	uint32_t size;
	if (!next_text(call, answer, at, &text, &size)) {
		return false;
	}
	if (text != NULL && size == 2 && memcmp(text, "ok", 2) == 0) {
		return true;
	}
	if (next_text(call, answer, at, &text, &size) && text != NULL && (*error = malloc((size_t)size + 1)) != NULL) {
		memcpy(*error, text, size);
		(*error)[size] = '\0';
	}
	return false;
}

static int connect_local(const char *path) {
	struct sockaddr_un name;
	int found = socket(AF_UNIX, SOCK_STREAM, 0);
	memset(&name, 0, sizeof name);
	name.sun_family = AF_UNIX;
	strncpy(name.sun_path, path, sizeof name.sun_path - 1);
	if (found >= 0 && connect(found, (struct sockaddr *)&name, sizeof name) != 0) {
		close(found);
		found = -1;
	}
	return found;
}

static int connect_far(const char *address) {
	struct addrinfo wanted, *hosts = NULL, *host;
	char name[256];
	const char *port = strrchr(address, ':');
	int found = -1;
	if (port == NULL || (size_t)(port - address) >= sizeof name) {
		return -1;
	}
	memcpy(name, address, (size_t)(port - address));
	name[port - address] = '\0';
	memset(&wanted, 0, sizeof wanted);
	wanted.ai_socktype = SOCK_STREAM;
	if (getaddrinfo(name, port + 1, &wanted, &hosts) != 0) {
		return -1;
	}
	for (host = hosts; host != NULL && found < 0; host = host->ai_next) {
		found = socket(host->ai_family, host->ai_socktype, host->ai_protocol);
		if (found >= 0 && connect(found, host->ai_addr, host->ai_addrlen) != 0) {
			close(found);
			found = -1;
		}
	}
	freeaddrinfo(hosts);
	return found;
}

/* Say the token of a server on TCP. */
static bool greet(Call *call, int socket, char **error) {
	const char *token = getenv("SQLINFER_TOKEN");
	Buffer message = {NULL, 0, 0}, answer = {NULL, 0, 0};
	size_t at = 0;
	token = token ? token : "";
	bool is_done = reserve(call, &message, 4);
	message.used = 4;
	is_done = is_done && put_text(call, &message, "token", 5) &&
	          put_text(call, &message, token, (uint32_t)strlen(token)) && exchange(call, socket, &message, &answer) &&
	          is_ok(call, &answer, &at, error);
	free(message.bytes);
	free(answer.bytes);
	return is_done;
}

/* A new line; while SQLINFER_WAIT_S lasts, a server that is about to start is waited for. */
static Line *new_line(Call *call, char **error) {
	const char *patience = getenv("SQLINFER_WAIT_S");
	time_t until = time(NULL) + (patience ? atoi(patience) : 0);
	bool is_local = call->address[0] == '/';
	int opened;
	while ((opened = is_local ? connect_local(call->address) : connect_far(call->address)) < 0) {
		if (time(NULL) >= until) {
			fail(call, "no sqlinfer server answers at %s (%s). Start one: sqlinfer serve", call->address,
			     strerror(errno));
			return NULL;
		}
		if (is_interrupted(call)) {
			return NULL;
		}
		poll(NULL, 0, POLL_MS);
	}
	fcntl(opened, F_SETFD, FD_CLOEXEC);
	fcntl(opened, F_SETFL, fcntl(opened, F_GETFL) | O_NONBLOCK);
	size_t size = strlen(call->address) + 1;
	Line *line = malloc(sizeof(Line) + size);
	if (line == NULL || (!is_local && !greet(call, opened, error))) {
		close(opened);
		free(line);
		return NULL;
	}
	line->socket = opened;
	memcpy(line->address, call->address, size);
	return line;
}

static Line *take_line(Call *call, char **error) {
	for (Line *line = idle_line(call->address); line != NULL; line = idle_line(call->address)) {
		if (is_open(line)) {
			return line;
		}
		hang_up(line);
	}
	return new_line(call, error);
}

/* ---- DuckDB's side ---- */

typedef struct {
	duckdb_string_t *texts[COLUMNS];
	uint64_t *validity[COLUMNS];
} Rows;

static const char *cell(Rows *rows, int column, idx_t row, uint32_t *size) {
	uint64_t *validity = rows->validity[column];
	if (validity != NULL && !duckdb_validity_row_is_valid(validity, row)) {
		*size = 0;
		return NULL;
	}
	duckdb_string_t *text = &rows->texts[column][row];
	*size = duckdb_string_t_length(*text);
	return duckdb_string_t_data(text);
}

/* The message of a chunk. Options that are as in the row before are absent. */
static bool put_rows(Call *call, Rows *rows, idx_t num_rows, Buffer *message) {
	const char *text, *before = NULL;
	uint32_t size, size_before = 0;
	if (!reserve(call, message, 4)) {
		return false;
	}
	message->used = 4;
	bool is_put = put_text(call, message, "call", 4);
	for (int column = CONTEXT; column <= FUNCTION; column++) {
		text = cell(rows, column, 0, &size);
		is_put = is_put && put_text(call, message, text, size);
	}
	for (idx_t row = 0; is_put && row < num_rows; row++) {
		text = cell(rows, OPTIONS, row, &size);
		bool is_same = row > 0 && before != NULL && text != NULL && size == size_before && memcmp(text, before, size) == 0;
		is_put = put_text(call, message, is_same ? NULL : text, size);
		before = text;
		size_before = size;
		text = cell(rows, ARGUMENTS, row, &size);
		is_put = is_put && put_text(call, message, text, size);
	}
	return is_put;
}

static bool take_values(Call *call, const Buffer *answer, size_t at, idx_t num_rows, duckdb_vector output) {
	uint64_t *validity = NULL;
	for (idx_t row = 0; row < num_rows; row++) {
		const char *text;
		uint32_t size;
		if (!next_text(call, answer, &at, &text, &size)) {
			return false;
		}
		if (text != NULL) {
			duckdb_vector_assign_string_element_len(output, row, text, size);
			continue;
		}
		if (validity == NULL) {
			duckdb_vector_ensure_validity_writable(output);
			validity = duckdb_vector_get_validity(output);
		}
		duckdb_validity_set_row_invalid(validity, row);
	}
	return true;
}

static bool ask(Call *call, Rows *rows, idx_t num_rows, duckdb_vector output, char **error) {
	Buffer message = {NULL, 0, 0}, answer = {NULL, 0, 0};
	size_t at = 0;
	bool is_done = false;
	Line *line = put_rows(call, rows, num_rows, &message) ? take_line(call, error) : NULL;
	if (line != NULL) {
		bool is_answered = exchange(call, line->socket, &message, &answer);
		is_done = is_answered && is_ok(call, &answer, &at, error) && take_values(call, &answer, at, num_rows, output);
		if (is_answered) {
			keep(line);
		} else {
			hang_up(line);
		}
	}
	free(message.bytes);
	free(answer.bytes);
	return is_done;
}

static void call_function(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
	idx_t num_rows = duckdb_data_chunk_get_size(input);
	Rows rows;
	Call call = {NULL, interrupts, "sqlinfer: out of memory"};
	char *address, *error = NULL;
	uint32_t size;
	if (num_rows == 0) {
		return;
	}
	for (idx_t column = 0; column < COLUMNS; column++) {
		duckdb_vector vector = duckdb_data_chunk_get_vector(input, column);
		rows.texts[column] = (duckdb_string_t *)duckdb_vector_get_data(vector);
		rows.validity[column] = duckdb_vector_get_validity(vector);
	}
	const char *text = cell(&rows, ADDRESS, 0, &size);
	if (text == NULL || (address = malloc((size_t)size + 1)) == NULL) {
		duckdb_scalar_function_set_error(info, "__sqlinfer_call: the address is missing");
		return;
	}
	memcpy(address, text, size);
	address[size] = '\0';
	call.address = address;
	begin_waiting();
	if (!ask(&call, &rows, num_rows, output, &error)) {
		duckdb_scalar_function_set_error(info, error ? error : call.error);
	}
	end_waiting();
	free(error);
	free(address);
}

DUCKDB_EXTENSION_ENTRYPOINT(duckdb_connection connection, duckdb_extension_info info,
                            struct duckdb_extension_access *access) {
	duckdb_scalar_function function = duckdb_create_scalar_function();
	duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
	duckdb_scalar_function_set_name(function, "__sqlinfer_call");
	for (int column = 0; column < COLUMNS; column++) {
		duckdb_scalar_function_add_parameter(function, text);
	}
	duckdb_scalar_function_set_return_type(function, text);
	duckdb_scalar_function_set_special_handling(function);
	duckdb_scalar_function_set_function(function, call_function);
	duckdb_state state = duckdb_register_scalar_function(connection, function);
	duckdb_destroy_logical_type(&text);
	duckdb_destroy_scalar_function(&function);
	if (state == DuckDBError) {
		access->set_error(info, "sqlinfer: __sqlinfer_call cannot be registered; is the extension loaded twice?");
		return false;
	}
	return true;
}
