-- The contender "seed": the tables of a usual event-sourcing library on PostgreSQL,
-- with its outbox, column by column and index by index as its documentation names
-- them.

CREATE TABLE events (
	id bigserial PRIMARY KEY,
	event_id uuid NOT NULL UNIQUE,
	event_type varchar(255) NOT NULL,
	aggregate_type varchar(255) NOT NULL,
	aggregate_id uuid NOT NULL,
	tenant_id varchar(36),
	actor_id varchar(255),
	version integer NOT NULL,
	"timestamp" timestamptz NOT NULL,
	payload jsonb NOT NULL,
	created_at timestamptz DEFAULT now(),
	UNIQUE (aggregate_id, aggregate_type, version)
);
CREATE INDEX ON events (aggregate_id, aggregate_type);
CREATE INDEX ON events (aggregate_type);
CREATE INDEX ON events (tenant_id);
CREATE INDEX ON events ("timestamp");

CREATE TABLE event_outbox (
	id uuid PRIMARY KEY,
	event_id uuid NOT NULL,
	event_type varchar(255) NOT NULL,
	aggregate_id uuid NOT NULL,
	aggregate_type varchar(255) NOT NULL,
	tenant_id varchar(36),
	event_data jsonb NOT NULL,
	created_at timestamptz NOT NULL,
	status varchar(20) DEFAULT 'pending',
	processed_at timestamptz
);
CREATE INDEX ON event_outbox (status, created_at);
