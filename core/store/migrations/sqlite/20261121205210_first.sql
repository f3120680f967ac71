-- +goose Up
-- create "av_applications" table
CREATE TABLE `av_applications` (`application_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `name` text NOT NULL DEFAULT (''), `slug` text NULL, `description` text NULL, `client_id` text NULL, `application_type` text NULL, `is_active` bool NOT NULL DEFAULT (true), `redirect_uris` json NULL, `post_logout_redirect_uris` json NULL, `allowed_scopes` json NULL, `grant_types` json NULL, `token_endpoint_auth_method` text NULL, `initiate_login_uri` text NULL, `access_token_ttl_seconds` integer NULL, `refresh_token_ttl_seconds` integer NULL, `licensing` json NULL, `created_by_sub` text NULL, `organization_id` text NULL, PRIMARY KEY (`application_id`));
-- create index "application_organization_id" to table: "av_applications"
CREATE INDEX `application_organization_id` ON `av_applications` (`organization_id`);
-- create index "application_client_id" to table: "av_applications"
CREATE INDEX `application_client_id` ON `av_applications` (`client_id`);
-- create index "application_slug" to table: "av_applications"
CREATE INDEX `application_slug` ON `av_applications` (`slug`);
-- create "avhub_counters" table
CREATE TABLE `avhub_counters` (`name` text NOT NULL, `value` integer NOT NULL, PRIMARY KEY (`name`));
-- create "avhub_cursors" table
CREATE TABLE `avhub_cursors` (`plugin` text NOT NULL, `position` integer NOT NULL DEFAULT (0), `epoch` integer NOT NULL DEFAULT (0), `owner` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT (''), `reason` text NOT NULL DEFAULT (''), `version` text NOT NULL DEFAULT (''), `config_hash` text NOT NULL DEFAULT (''), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`plugin`));
-- create "avhub_dead_letters" table
CREATE TABLE `avhub_dead_letters` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `plugin` text NOT NULL, `key` text NOT NULL, `position` integer NOT NULL, `event_id` text NOT NULL, `type` text NOT NULL, `tenant_id` text NOT NULL DEFAULT (''), `event` blob NOT NULL, `reason` text NOT NULL, `attempts` integer NOT NULL DEFAULT (0), `history` blob NULL, `retry` bool NOT NULL DEFAULT (false), `created_at` integer NOT NULL DEFAULT (0), `updated_at` integer NOT NULL DEFAULT (0));
-- create index "deadletter_plugin_position" to table: "avhub_dead_letters"
CREATE UNIQUE INDEX `deadletter_plugin_position` ON `avhub_dead_letters` (`plugin`, `position`);
-- create index "deadletter_plugin_retry" to table: "avhub_dead_letters"
CREATE INDEX `deadletter_plugin_retry` ON `avhub_dead_letters` (`plugin`, `retry`);
-- create "av_identities" table
CREATE TABLE `av_identities` (`sub` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `username` text NULL, `display_name` text NULL, `given_name` text NULL, `family_name` text NULL, `middle_name` text NULL, `nickname` text NULL, `picture_url` text NULL, `website` text NULL, `gender` text NULL, `birthdate` text NULL, `zoneinfo` text NULL, `locale` text NULL, `email` text NULL, `email_verified` bool NULL, `phone` text NULL, `phone_verified` bool NULL, `subject_type` text NULL, `tenant_id` text NULL, `app_role` text NULL, `groups` json NULL, `is_active` bool NOT NULL DEFAULT (true), `has_app_access` bool NOT NULL DEFAULT (false), PRIMARY KEY (`sub`));
-- create index "identity_email" to table: "av_identities"
CREATE INDEX `identity_email` ON `av_identities` (`email`);
-- create index "identity_tenant_id" to table: "av_identities"
CREATE INDEX `identity_tenant_id` ON `av_identities` (`tenant_id`);
-- create "av_identity_sessions" table
CREATE TABLE `av_identity_sessions` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `auth_session_id` text NULL, `device_info` text NULL, `ip_address` text NULL, `user_agent` text NULL, `last_active_at` datetime NULL, `expires_at` datetime NULL, `revoked_at` datetime NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NULL, `identity_id` text NOT NULL);
-- create index "identitysession_identity_id" to table: "av_identity_sessions"
CREATE INDEX `identitysession_identity_id` ON `av_identity_sessions` (`identity_id`);
-- create index "identitysession_auth_session_id" to table: "av_identity_sessions"
CREATE INDEX `identitysession_auth_session_id` ON `av_identity_sessions` (`auth_session_id`);
-- create index "identitysession_expires_at" to table: "av_identity_sessions"
CREATE INDEX `identitysession_expires_at` ON `av_identity_sessions` (`expires_at`);
-- create "avhub_events" table
CREATE TABLE `avhub_events` (`position` integer NOT NULL, `source` text NOT NULL, `channel` text NOT NULL, `event_id` text NOT NULL, `type` text NOT NULL, `tenant_id` text NOT NULL DEFAULT (''), `application_id` text NOT NULL DEFAULT (''), `occurred_at` integer NOT NULL DEFAULT (0), `received_at` integer NOT NULL DEFAULT (0), `tenant_lane` integer NOT NULL, `subject_lane` integer NOT NULL, `body` blob NOT NULL, `key_id` text NOT NULL DEFAULT (''), `signature` blob NULL, `signed_timestamp` text NOT NULL DEFAULT (''), `changes` blob NULL, `changes_omitted` integer NOT NULL DEFAULT (0), `superseded` bool NOT NULL DEFAULT (false), `failed` text NOT NULL DEFAULT (''), PRIMARY KEY (`position`));
-- create index "journalevent_tenant_lane_position" to table: "avhub_events"
CREATE INDEX `journalevent_tenant_lane_position` ON `avhub_events` (`tenant_lane`, `position`);
-- create index "journalevent_subject_lane_position" to table: "avhub_events"
CREATE INDEX `journalevent_subject_lane_position` ON `avhub_events` (`subject_lane`, `position`);
-- create index "avhub_events_failed" to table: "avhub_events"
CREATE INDEX `avhub_events_failed` ON `avhub_events` (`position`) WHERE failed <> '';
-- create "avhub_lanes" table
CREATE TABLE `avhub_lanes` (`id` text NOT NULL, `plugin` text NOT NULL, `key` text NOT NULL, `head` integer NOT NULL, `attempts` integer NOT NULL DEFAULT (0), `since` integer NOT NULL DEFAULT (0), `next_at` integer NOT NULL DEFAULT (0), `last_error` text NOT NULL DEFAULT (''), `history` blob NULL, `discard` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create index "lane_plugin_next_at" to table: "avhub_lanes"
CREATE INDEX `lane_plugin_next_at` ON `avhub_lanes` (`plugin`, `next_at`);
-- create "avhub_mirror_graves" table
CREATE TABLE `avhub_mirror_graves` (`id` text NOT NULL, `sync_state` blob NOT NULL, PRIMARY KEY (`id`));
-- create "av_organizations" table
CREATE TABLE `av_organizations` (`tenant_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `name` text NOT NULL DEFAULT (''), `slug` text NOT NULL DEFAULT (''), `plan` text NOT NULL DEFAULT ('free'), `owner_email` text NULL, `allow_signups` bool NULL, `require_mfa` bool NULL, `allowed_email_domains` json NULL, `session_lifetime_minutes` integer NULL, `password_policy` json NULL, `settings` json NULL, `status` text NOT NULL DEFAULT ('active'), `suspended_at` datetime NULL, `suspended_by_sub` text NULL, `suspended_reason` text NULL, `created_by_sub` text NULL, PRIMARY KEY (`tenant_id`));
-- create index "organization_slug" to table: "av_organizations"
CREATE INDEX `organization_slug` ON `av_organizations` (`slug`);
-- create index "organization_owner_email" to table: "av_organizations"
CREATE INDEX `organization_owner_email` ON `av_organizations` (`owner_email`);
-- create "avhub_plugin_states" table
CREATE TABLE `avhub_plugin_states` (`id` text NOT NULL, `position` integer NOT NULL, `state` blob NULL, `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create "av_sso_providers" table
CREATE TABLE `av_sso_providers` (`id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `provider_id` text NOT NULL, `provider_type` text NULL, `display_name` text NULL, `is_enabled` bool NOT NULL DEFAULT (true), `client_id` text NULL, `issuer` text NULL, `authorization_endpoint` text NULL, `token_endpoint` text NULL, `userinfo_endpoint` text NULL, `domains` json NULL, `attribute_mapping` json NULL, `created_by_sub` text NULL, `organization_id` text NULL, PRIMARY KEY (`id`));
-- create index "ssoprovider_organization_id" to table: "av_sso_providers"
CREATE INDEX `ssoprovider_organization_id` ON `av_sso_providers` (`organization_id`);
-- create index "ssoprovider_provider_id" to table: "av_sso_providers"
CREATE INDEX `ssoprovider_provider_id` ON `av_sso_providers` (`provider_id`);
-- create "avhub_seen_events" table
CREATE TABLE `avhub_seen_events` (`id` text NOT NULL, `position` integer NOT NULL, `body_hash` blob NOT NULL, `seen_at` integer NOT NULL DEFAULT (0), `conflicts` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));

-- +goose Down
-- reverse: create "avhub_seen_events" table
DROP TABLE `avhub_seen_events`;
-- reverse: create index "ssoprovider_provider_id" to table: "av_sso_providers"
DROP INDEX `ssoprovider_provider_id`;
-- reverse: create index "ssoprovider_organization_id" to table: "av_sso_providers"
DROP INDEX `ssoprovider_organization_id`;
-- reverse: create "av_sso_providers" table
DROP TABLE `av_sso_providers`;
-- reverse: create "avhub_plugin_states" table
DROP TABLE `avhub_plugin_states`;
-- reverse: create index "organization_owner_email" to table: "av_organizations"
DROP INDEX `organization_owner_email`;
-- reverse: create index "organization_slug" to table: "av_organizations"
DROP INDEX `organization_slug`;
-- reverse: create "av_organizations" table
DROP TABLE `av_organizations`;
-- reverse: create "avhub_mirror_graves" table
DROP TABLE `avhub_mirror_graves`;
-- reverse: create index "lane_plugin_next_at" to table: "avhub_lanes"
DROP INDEX `lane_plugin_next_at`;
-- reverse: create "avhub_lanes" table
DROP TABLE `avhub_lanes`;
-- reverse: create index "avhub_events_failed" to table: "avhub_events"
DROP INDEX `avhub_events_failed`;
-- reverse: create index "journalevent_subject_lane_position" to table: "avhub_events"
DROP INDEX `journalevent_subject_lane_position`;
-- reverse: create index "journalevent_tenant_lane_position" to table: "avhub_events"
DROP INDEX `journalevent_tenant_lane_position`;
-- reverse: create "avhub_events" table
DROP TABLE `avhub_events`;
-- reverse: create index "identitysession_expires_at" to table: "av_identity_sessions"
DROP INDEX `identitysession_expires_at`;
-- reverse: create index "identitysession_auth_session_id" to table: "av_identity_sessions"
DROP INDEX `identitysession_auth_session_id`;
-- reverse: create index "identitysession_identity_id" to table: "av_identity_sessions"
DROP INDEX `identitysession_identity_id`;
-- reverse: create "av_identity_sessions" table
DROP TABLE `av_identity_sessions`;
-- reverse: create index "identity_tenant_id" to table: "av_identities"
DROP INDEX `identity_tenant_id`;
-- reverse: create index "identity_email" to table: "av_identities"
DROP INDEX `identity_email`;
-- reverse: create "av_identities" table
DROP TABLE `av_identities`;
-- reverse: create index "deadletter_plugin_retry" to table: "avhub_dead_letters"
DROP INDEX `deadletter_plugin_retry`;
-- reverse: create index "deadletter_plugin_position" to table: "avhub_dead_letters"
DROP INDEX `deadletter_plugin_position`;
-- reverse: create "avhub_dead_letters" table
DROP TABLE `avhub_dead_letters`;
-- reverse: create "avhub_cursors" table
DROP TABLE `avhub_cursors`;
-- reverse: create "avhub_counters" table
DROP TABLE `avhub_counters`;
-- reverse: create index "application_slug" to table: "av_applications"
DROP INDEX `application_slug`;
-- reverse: create index "application_client_id" to table: "av_applications"
DROP INDEX `application_client_id`;
-- reverse: create index "application_organization_id" to table: "av_applications"
DROP INDEX `application_organization_id`;
-- reverse: create "av_applications" table
DROP TABLE `av_applications`;
