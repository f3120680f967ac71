-- +goose Up
-- create index "lane_plugin_head" to table: "avhub_lanes"
CREATE INDEX `lane_plugin_head` ON `avhub_lanes` (`plugin`, `head`);
-- create index "seenevent_position" to table: "avhub_seen_events"
CREATE INDEX `seenevent_position` ON `avhub_seen_events` (`position`);
-- create index "avhub_seen_events_conflicts" to table: "avhub_seen_events"
CREATE INDEX `avhub_seen_events_conflicts` ON `avhub_seen_events` (`position`) WHERE conflicts > 0;

-- +goose Down
-- reverse: create index "avhub_seen_events_conflicts" to table: "avhub_seen_events"
DROP INDEX `avhub_seen_events_conflicts`;
-- reverse: create index "seenevent_position" to table: "avhub_seen_events"
DROP INDEX `seenevent_position`;
-- reverse: create index "lane_plugin_head" to table: "avhub_lanes"
DROP INDEX `lane_plugin_head`;
