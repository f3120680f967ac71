-- +goose Up
-- create "av_app_access" table
CREATE TABLE `av_app_access` (`id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `role_id` text NULL, `role_name` text NULL, `role_slug` text NULL, `has_access` bool NOT NULL DEFAULT (false), `access_type` text NULL, `application_id` text NULL, `identity_id` text NULL, `organization_id` text NULL, PRIMARY KEY (`id`));
-- create index "appaccess_identity_id_application_id" to table: "av_app_access"
CREATE INDEX `appaccess_identity_id_application_id` ON `av_app_access` (`identity_id`, `application_id`);
-- create index "appaccess_organization_id" to table: "av_app_access"
CREATE INDEX `appaccess_organization_id` ON `av_app_access` (`organization_id`);
-- create index "appaccess_application_id" to table: "av_app_access"
CREATE INDEX `appaccess_application_id` ON `av_app_access` (`application_id`);
-- create "avhub_backfill_facts" table
CREATE TABLE `avhub_backfill_facts` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `key` text NOT NULL, `read_at` integer NOT NULL, `fact` blob NOT NULL);
-- create index "backfillfact_key_read_at" to table: "avhub_backfill_facts"
CREATE UNIQUE INDEX `backfillfact_key_read_at` ON `avhub_backfill_facts` (`key`, `read_at`);
-- create "avhub_backfill_runs" table
CREATE TABLE `avhub_backfill_runs` (`id` text NOT NULL, `started_at` integer NOT NULL DEFAULT (0), `done_at` integer NOT NULL DEFAULT (0), `members` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create "av_invitations" table
CREATE TABLE `av_invitations` (`invite_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `email` text NULL, `roles` json NULL, `status` text NOT NULL DEFAULT ('pending'), `invited_by_sub` text NULL, `expires_at` datetime NULL, `membership_id` text NULL, `organization_id` text NULL, PRIMARY KEY (`invite_id`));
-- create index "invitation_organization_id" to table: "av_invitations"
CREATE INDEX `invitation_organization_id` ON `av_invitations` (`organization_id`);
-- create index "invitation_membership_id" to table: "av_invitations"
CREATE INDEX `invitation_membership_id` ON `av_invitations` (`membership_id`);
-- create index "invitation_email" to table: "av_invitations"
CREATE INDEX `invitation_email` ON `av_invitations` (`email`);
-- create "av_licenses" table
CREATE TABLE `av_licenses` (`assignment_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `license_type_id` text NULL, `license_type_name` text NULL, `status` text NOT NULL DEFAULT ('active'), `application_id` text NULL, `identity_id` text NULL, `organization_id` text NULL, PRIMARY KEY (`assignment_id`));
-- create index "license_identity_id" to table: "av_licenses"
CREATE INDEX `license_identity_id` ON `av_licenses` (`identity_id`);
-- create index "license_organization_id_status" to table: "av_licenses"
CREATE INDEX `license_organization_id_status` ON `av_licenses` (`organization_id`, `status`);
-- create index "license_application_id" to table: "av_licenses"
CREATE INDEX `license_application_id` ON `av_licenses` (`application_id`);
-- create "av_memberships" table
CREATE TABLE `av_memberships` (`membership_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `roles` json NULL, `status` text NOT NULL DEFAULT ('active'), `identity_id` text NULL, `organization_id` text NULL, PRIMARY KEY (`membership_id`));
-- create index "membership_identity_id" to table: "av_memberships"
CREATE INDEX `membership_identity_id` ON `av_memberships` (`identity_id`);
-- create index "membership_organization_id" to table: "av_memberships"
CREATE INDEX `membership_organization_id` ON `av_memberships` (`organization_id`);
-- create "av_subscriptions" table
CREATE TABLE `av_subscriptions` (`subscription_id` text NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `synced_at` datetime NOT NULL, `sync_state` blob NULL, `license_type_id` text NULL, `license_type_name` text NULL, `quantity` integer NOT NULL DEFAULT (0), `status` text NULL, `application_id` text NULL, `organization_id` text NULL, PRIMARY KEY (`subscription_id`));
-- create index "subscription_organization_id" to table: "av_subscriptions"
CREATE INDEX `subscription_organization_id` ON `av_subscriptions` (`organization_id`);
-- create index "subscription_application_id" to table: "av_subscriptions"
CREATE INDEX `subscription_application_id` ON `av_subscriptions` (`application_id`);
-- create "avhub_tenant_databases" table
CREATE TABLE `avhub_tenant_databases` (`tenant_id` text NOT NULL, `place` text NOT NULL DEFAULT (''), `position` integer NOT NULL DEFAULT (0), `target` integer NOT NULL DEFAULT (0), `attempts` integer NOT NULL DEFAULT (0), `next_at` integer NOT NULL DEFAULT (0), `last_error` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT (''), `updated_at` integer NOT NULL DEFAULT (0), PRIMARY KEY (`tenant_id`));
-- create index "avhub_tenant_databases_behind" to table: "avhub_tenant_databases"
CREATE INDEX `avhub_tenant_databases_behind` ON `avhub_tenant_databases` (`next_at`) WHERE target > position;
-- create "avhub_tenant_people" table
CREATE TABLE `avhub_tenant_people` (`id` text NOT NULL, `tenant_id` text NOT NULL, `sub` text NOT NULL, PRIMARY KEY (`id`));
-- create index "tenantperson_sub" to table: "avhub_tenant_people"
CREATE INDEX `tenantperson_sub` ON `avhub_tenant_people` (`sub`);

-- +goose Down
-- reverse: create index "tenantperson_sub" to table: "avhub_tenant_people"
DROP INDEX `tenantperson_sub`;
-- reverse: create "avhub_tenant_people" table
DROP TABLE `avhub_tenant_people`;
-- reverse: create index "avhub_tenant_databases_behind" to table: "avhub_tenant_databases"
DROP INDEX `avhub_tenant_databases_behind`;
-- reverse: create "avhub_tenant_databases" table
DROP TABLE `avhub_tenant_databases`;
-- reverse: create index "subscription_application_id" to table: "av_subscriptions"
DROP INDEX `subscription_application_id`;
-- reverse: create index "subscription_organization_id" to table: "av_subscriptions"
DROP INDEX `subscription_organization_id`;
-- reverse: create "av_subscriptions" table
DROP TABLE `av_subscriptions`;
-- reverse: create index "membership_organization_id" to table: "av_memberships"
DROP INDEX `membership_organization_id`;
-- reverse: create index "membership_identity_id" to table: "av_memberships"
DROP INDEX `membership_identity_id`;
-- reverse: create "av_memberships" table
DROP TABLE `av_memberships`;
-- reverse: create index "license_application_id" to table: "av_licenses"
DROP INDEX `license_application_id`;
-- reverse: create index "license_organization_id_status" to table: "av_licenses"
DROP INDEX `license_organization_id_status`;
-- reverse: create index "license_identity_id" to table: "av_licenses"
DROP INDEX `license_identity_id`;
-- reverse: create "av_licenses" table
DROP TABLE `av_licenses`;
-- reverse: create index "invitation_email" to table: "av_invitations"
DROP INDEX `invitation_email`;
-- reverse: create index "invitation_membership_id" to table: "av_invitations"
DROP INDEX `invitation_membership_id`;
-- reverse: create index "invitation_organization_id" to table: "av_invitations"
DROP INDEX `invitation_organization_id`;
-- reverse: create "av_invitations" table
DROP TABLE `av_invitations`;
-- reverse: create "avhub_backfill_runs" table
DROP TABLE `avhub_backfill_runs`;
-- reverse: create index "backfillfact_key_read_at" to table: "avhub_backfill_facts"
DROP INDEX `backfillfact_key_read_at`;
-- reverse: create "avhub_backfill_facts" table
DROP TABLE `avhub_backfill_facts`;
-- reverse: create index "appaccess_application_id" to table: "av_app_access"
DROP INDEX `appaccess_application_id`;
-- reverse: create index "appaccess_organization_id" to table: "av_app_access"
DROP INDEX `appaccess_organization_id`;
-- reverse: create index "appaccess_identity_id_application_id" to table: "av_app_access"
DROP INDEX `appaccess_identity_id_application_id`;
-- reverse: create "av_app_access" table
DROP TABLE `av_app_access`;
