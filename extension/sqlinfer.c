/* The DuckDB extension of sqlinfer: one scalar function that hands its rows to a sqlinfer server, chunk by chunk.
 *
 *   __sqlinfer_call(address, context, function, options, arguments) -> VARCHAR
 *
 * The first three are the same in all rows; options and arguments are JSON. It knows no function of sqlinfer and
 * reads no JSON: `sqlinfer shell` makes macros over it that give the functions their names, defaults and types.
 * Needs the stable C API of DuckDB 1.2 and POSIX, nothing else. docs/shell.md describes what goes over the wire.
 */
#define _GNU_SOURCE /* struct ucred */
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

/* ---- A remote procedure call under way: its bytes, its error ---- */

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

/* ---- The pool of connections: open sockets, kept for the next call ---- */

typedef struct Connection {
	int socket;
	bool is_busy;
	struct Connection *next;
	char address[];
} Connection;

static Connection *pool;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;

/* Take an idle connection to an address out of the pool's idle ones; NULL if there is none. */
static Connection *idle_connection(const char *address) {
	pthread_mutex_lock(&pool_lock);
	Connection *each = pool;
	while (each != NULL && (each->is_busy || strcmp(each->address, address) != 0)) {
		each = each->next;
	}
	if (each != NULL) {
		each->is_busy = true;
	}
	pthread_mutex_unlock(&pool_lock);
	return each;
}

static void release_connection(Connection *connection) {
	pthread_mutex_lock(&pool_lock);
	connection->is_busy = false;
	pthread_mutex_unlock(&pool_lock);
}

static void close_connection(Connection *connection) {
	pthread_mutex_lock(&pool_lock);
	for (Connection **at = &pool; *at != NULL; at = &(*at)->next) {
		if (*at == connection) {
			*at = connection->next;
			break;
		}
	}
	pthread_mutex_unlock(&pool_lock);
	close(connection->socket);
	free(connection);
}

/* A new busy connection; the caller closes the socket if there is no memory for it. */
static Connection *add_connection(int socket, const char *address) {
	size_t size = strlen(address) + 1;
	Connection *connection = malloc(sizeof(Connection) + size);
	if (connection != NULL) {
		connection->socket = socket;
		connection->is_busy = true;
		memcpy(connection->address, address, size);
		pthread_mutex_lock(&pool_lock);
		connection->next = pool;
		pool = connection;
		pthread_mutex_unlock(&pool_lock);
	}
	return connection;
}

/* No answer is due on an idle connection, so that what can be read is its end, or not understood. */
static bool is_open(Connection *connection) {
	struct pollfd watched = {connection->socket, POLLIN, 0};
	return poll(&watched, 1, 0) == 0;
}

/* ---- Forks: a child closes its copies of the sockets, on which the parent goes on, and has no waiting calls ---- */

static void before_fork(void) {
	pthread_mutex_lock(&waiting_lock);
	pthread_mutex_lock(&pool_lock);
}

static void after_fork(void) {
	pthread_mutex_unlock(&pool_lock);
	pthread_mutex_unlock(&waiting_lock);
}

static void after_fork_in_child(void) {
	for (Connection *each = pool; each != NULL; each = each->next) {
		close(each->socket);
	}
	pool = NULL;
	after_fork();
	if (num_waiting > 0) {
		num_waiting = 1;
		end_waiting();
	}
}

static void watch_forks(void) {
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- Messages over a socket ---- */

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

/* ---- Servers: the one that the environment names, else one of this user on this machine. SQL cannot choose others ---- */

static bool may_call(Rpc *rpc) {
	const char *server = getenv("SQLINFER_SERVER");
	if (server != NULL && *server != '\0') {
		return strcmp(server, rpc->address) == 0 ||
		       fail(rpc, "sqlinfer: this program may call the server at %s (SQLINFER_SERVER), and not one at %s", server,
		            rpc->address);
	}
	return rpc->address[0] == '/' ||
	       fail(rpc,
	            "sqlinfer: SQL alone cannot name a server on the network. Start this program with SQLINFER_SERVER=%s in "
	            "its environment, as `sqlinfer shell --server %s` does",
	            rpc->address, rpc->address);
}

static bool is_own_process(int socket) {
#ifdef SO_PEERCRED
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
#else
	uid_t user;
	gid_t group;
	return getpeereid(socket, &user, &group) == 0 && user == geteuid();
#endif
}

/* A connected socket that does not block, or -1 with the reason in errno. */
static int connect_to(Rpc *rpc, const struct sockaddr *name, socklen_t name_size) {
	int opened = socket(name->sa_family, SOCK_STREAM, 0), error = 0;
	socklen_t size = sizeof error;
	if (opened < 0) {
		return -1;
	}
	fcntl(opened, F_SETFD, FD_CLOEXEC);
	fcntl(opened, F_SETFL, fcntl(opened, F_GETFL) | O_NONBLOCK);
	if (connect(opened, name, name_size) == 0) {
		return opened;
	}
	error = errno;
	if (error == EINPROGRESS && wait_until(rpc, opened, POLLOUT) &&
	    getsockopt(opened, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
		return opened;
	}
	close(opened);
	errno = error;
	return -1;
}

static int connect_local(Rpc *rpc, const struct sockaddr_un *name) {
	int opened = connect_to(rpc, (const struct sockaddr *)name, sizeof *name);
	if (opened >= 0 && !is_own_process(opened)) {
		close(opened);
		errno = EACCES;
		return -1;
	}
	return opened;
}

static int connect_far(Rpc *rpc, const struct addrinfo *hosts) {
	int opened = -1;
	for (const struct addrinfo *host = hosts; host != NULL && opened < 0; host = host->ai_next) {
		opened = connect_to(rpc, host->ai_addr, host->ai_addrlen);
	}
	return opened;
}

/* The addresses of HOST:PORT; brackets around the host are those of IPv6. */
static struct addrinfo *resolve(Rpc *rpc) {
	struct addrinfo wanted, *hosts = NULL;
	char name[256];
	const char *host = rpc->address, *port = strrchr(host, ':');
	size_t size = port == NULL ? 0 : (size_t)(port - host);
	if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
		host++;
		size -= 2;
	}
	if (size == 0 || size >= sizeof name || port[1] == '\0' || strspn(port + 1, "0123456789") != strlen(port + 1)) {
		fail(rpc, "sqlinfer: '%s' is no address of a server: HOST:PORT, or the path of its socket", rpc->address);
		return NULL;
	}
	memcpy(name, host, size);
	name[size] = '\0';
	memset(&wanted, 0, sizeof wanted);
	wanted.ai_socktype = SOCK_STREAM;
	int error = getaddrinfo(name, port + 1, &wanted, &hosts);
	if (error != 0) {
		fail(rpc, "sqlinfer: the server's host %s is not known: %s", name, gai_strerror(error));
		return NULL;
	}
	return hosts;
}

/* A socket connected to the server; while SQLINFER_WAIT_S lasts, one that is about to start is waited for. */
static int connect_server(Rpc *rpc) {
	const char *patience = getenv("SQLINFER_WAIT_S");
	time_t until = time(NULL) + (patience ? atoi(patience) : 0);
	struct addrinfo *hosts = NULL;
	struct sockaddr_un name;
	int opened;
	memset(&name, 0, sizeof name);
	name.sun_family = AF_UNIX;
	bool is_local = rpc->address[0] == '/';
	if (!is_local && (hosts = resolve(rpc)) == NULL) {
		return -1;
	}
	if (is_local && strlen(rpc->address) >= sizeof name.sun_path) {
		fail(rpc, "sqlinfer: %s is too long for the path of a socket (%zu bytes at most)", rpc->address,
		     sizeof name.sun_path - 1);
		return -1;
	}
	memcpy(name.sun_path, rpc->address, is_local ? strlen(rpc->address) : 0);
	while ((opened = is_local ? connect_local(rpc, &name) : connect_far(rpc, hosts)) < 0 && !is_interrupted(rpc)) {
		if (errno != EAGAIN && time(NULL) >= until) { /* EAGAIN: it has not accepted the connections before ours */
			fail(rpc, "no sqlinfer server answers at %s (%s). Start one: sqlinfer serve", rpc->address, strerror(errno));
			break;
		}
		poll(NULL, 0, POLL_MS);
	}
	if (hosts != NULL) {
		freeaddrinfo(hosts);
	}
	return opened;
}

/* Say the token of a server on TCP. */
static bool greet(Rpc *rpc, int socket, char **error) {
	const char *token = getenv("SQLINFER_TOKEN");
	Buffer message = {NULL, 0, 0}, answer = {NULL, 0, 0};
	size_t at = 0;
	token = token ? token : "";
	bool is_done = reserve(rpc, &message, 4);
	message.used = 4;
	is_done = is_done && put_text(rpc, &message, "token", 5) &&
	          put_text(rpc, &message, token, (uint32_t)strlen(token)) && exchange(rpc, socket, &message, &answer) &&
	          is_ok(rpc, &answer, &at, error);
	free(message.bytes);
	free(answer.bytes);
	return is_done;
}

static Connection *take_connection(Rpc *rpc, char **error) {
	Connection *connection;
	if (!may_call(rpc)) {
		return NULL;
	}
	while ((connection = idle_connection(rpc->address)) != NULL) {
		if (is_open(connection)) {
			return connection;
		}
		close_connection(connection);
	}
	int opened = connect_server(rpc);
	if (opened >= 0) {
		bool is_greeted = rpc->address[0] == '/' || greet(rpc, opened, error);
		connection = is_greeted ? add_connection(opened, rpc->address) : NULL;
		if (connection == NULL) {
			close(opened);
		}
	}
	return connection;
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
static bool put_rows(Rpc *rpc, Rows *rows, idx_t num_rows, Buffer *message) {
	const char *text, *before = NULL;
	uint32_t size, size_before = 0;
	if (!reserve(rpc, message, 4)) {
		return false;
	}
	message->used = 4;
	bool is_put = put_text(rpc, message, "call", 4);
	for (int column = CONTEXT; column <= FUNCTION; column++) {
		text = cell(rows, column, 0, &size);
		is_put = is_put && put_text(rpc, message, text, size);
	}
	for (idx_t row = 0; is_put && row < num_rows; row++) {
		text = cell(rows, OPTIONS, row, &size);
		bool is_same = row > 0 && before != NULL && text != NULL && size == size_before && memcmp(text, before, size) == 0;
		is_put = put_text(rpc, message, is_same ? NULL : text, size);
		before = text;
		size_before = size;
		text = cell(rows, ARGUMENTS, row, &size);
		is_put = is_put && put_text(rpc, message, text, size);
	}
	return is_put;
}

static bool take_values(Rpc *rpc, const Buffer *answer, size_t at, idx_t num_rows, duckdb_vector output) {
	uint64_t *validity = NULL;
	for (idx_t row = 0; row < num_rows; row++) {
		const char *text;
		uint32_t size;
		if (!next_text(rpc, answer, &at, &text, &size)) {
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
	return at == answer->used || not_understood(rpc);
}

/* Have the server compute the values of a chunk. A connection is used again only if all of its answer was understood:
 * what else comes on it would be taken for the answer to the next call. */
static bool evaluate(Rpc *rpc, Rows *rows, idx_t num_rows, duckdb_vector output, char **error) {
	Buffer message = {NULL, 0, 0}, answer = {NULL, 0, 0};
	size_t at = 0;
	bool is_done = false;
	Connection *connection = put_rows(rpc, rows, num_rows, &message) ? take_connection(rpc, error) : NULL;
	if (connection != NULL) {
		is_done = exchange(rpc, connection->socket, &message, &answer) && is_ok(rpc, &answer, &at, error) &&
		          take_values(rpc, &answer, at, num_rows, output);
		if (is_done || *error != NULL) {
			release_connection(connection);
		} else {
			close_connection(connection);
		}
	}
	free(message.bytes);
	free(answer.bytes);
	return is_done;
}

static void call_function(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
	idx_t num_rows = duckdb_data_chunk_get_size(input);
	Rows rows;
	Rpc rpc = {NULL, interrupts, "sqlinfer: out of memory"};
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
	rpc.address = address;
	begin_waiting();
	if (!evaluate(&rpc, &rows, num_rows, output, &error)) {
		duckdb_scalar_function_set_error(info, error ? error : rpc.error);
	}
	end_waiting();
	free(error);
	free(address);
}

DUCKDB_EXTENSION_ENTRYPOINT(duckdb_connection connection, duckdb_extension_info info,
                            struct duckdb_extension_access *access) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, watch_forks);
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
