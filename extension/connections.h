/* Connections to servers, which are kept for the next call, and which servers may be called. Knows no DuckDB. */
#include <fcntl.h>
#include <netdb.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

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
