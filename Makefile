# pg_eventstore: an event store in PostgreSQL.
#
#	make && make install	into the server of PG_CONFIG, as usual
#	make demo		a private server, the main job shown; make demo-stop removes it
#	make check		all tests, on private servers
#	make bench		the store against other event stores, in half an hour at most
#	make bench-quick	the store against bare tables, in under five minutes
#	make bench-long		an append as the store grows, in half an hour at most
#	make baseline		the counts of instructions that the checks compare with
#	make stress		publishing under two million events and crashes, and all harm
#				there is under 200,000; 25 minutes at most
#	make mutants		proves the tests: broken stores that they must notice; SHARE=2/3
#				runs the second of three shares

EXTENSION   = pg_eventstore
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pg_eventstore.control)

MODULE_big  = pg_eventstore
OBJS        = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA_built  = pg_eventstore--$(EXTVERSION).sql
DATA        = $(wildcard sql/pg_eventstore--*--*.sql)
PGFILEDESC  = "pg_eventstore - an event store in PostgreSQL"

PG_CPPFLAGS = -DES_VERSION='"$(EXTVERSION)"'

# What PostgreSQL's own headers need, no more.  Warnings are errors in the checks.
PG_CFLAGS   = -std=gnu99 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type $(WERROR)
SHLIB_LINK  = -luuid
EXTRA_CLEAN = pg_eventstore--*.sql

# The commands of the project itself; they find or install a server on their own.
COMMANDS    = demo demo-stop check baseline stress bench bench-quick bench-long mutants
ifeq ($(filter-out $(COMMANDS),$(or $(MAKECMDGOALS),all)),)

.PHONY: $(COMMANDS)
demo demo-stop check baseline stress:
	@script/$@
bench:
	@script/bench full $(ROWS)
bench-quick bench-long:
	@script/bench $(@:bench-%=%) $(ROWS)
mutants:
	@SHARE=$(SHARE) test/mutants/run

else

PG_CONFIG  ?= pg_config
PGXS       := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h) pg_eventstore.control

pg_eventstore--$(EXTVERSION).sql: sql/pg_eventstore.sql
	cp $< $@

endif
