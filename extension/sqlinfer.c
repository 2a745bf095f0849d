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

#include "interrupts.h"
#include "messages.h"
#include "connections.h"

DUCKDB_EXTENSION_EXTERN

#define COLUMNS 5

enum { ADDRESS, CONTEXT, FUNCTION, OPTIONS, ARGUMENTS };

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
