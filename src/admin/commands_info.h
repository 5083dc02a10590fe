/* commands_info.h: what COMMAND INFO (commands_info.c) and COMMAND DOCS (commands_docs.c) say of one
 * command.
 *
 * All of it follows from the command's flags and its synopsis. Only key specs may be overridden, by
 * command.key_specs: specs with ';' between, each of them
 *
 *     FLAGS BEGIN FIND      "RO access index 1 range 0 1 0; OW update unknown unknown"
 *
 *     FLAGS   words as COMMAND INFO shows them: RO RW OW RM access update insert delete not_key
 *             incomplete variable_flags
 *     BEGIN   index POSITION | keyword WORD STARTFROM | unknown
 *     FIND    range LASTKEY KEYSTEP LIMIT | keynum KEYNUMIDX FIRSTKEY KEYSTEP | unknown
 */
#pragma once

#include "command/command.h"

/* COMMAND INFO's answer for one command: an array of ten. Subcommands follow their container. */
void commands_info_reply(struct call *call, const struct command_info *info);
/* COMMAND DOCS' answer for one command: its name, then a map. */
void commands_docs_reply(struct call *call, const struct command_info *info);

/* Which of COMMAND INFO's key specs reports the synopsis' keys `keys_index`. */
int commands_spec_index(const struct command_info *info, int keys_index);
/* A set of statuses: the names of key accesses, as GETKEYSANDFLAGS shows them. */
void commands_access_reply(struct call *call, unsigned access);
