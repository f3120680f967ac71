-- +goose Up
-- The views are for people and their SQL; nothing of avhub reads them. A later migration that rebuilds a table
-- which they read has to drop them before and to create them again.

-- create "av_view_members": who is an active member of what
CREATE VIEW "av_view_members" AS
SELECT m."membership_id", m."organization_id", o."name" AS "organization_name", o."slug" AS "organization_slug",
  o."status" AS "organization_status", m."identity_id", i."email", i."display_name", i."is_active", m."roles",
  m."created_at" AS "member_since"
FROM "av_memberships" AS m
LEFT JOIN "av_organizations" AS o ON o."tenant_id" = m."organization_id"
LEFT JOIN "av_identities" AS i ON i."sub" = m."identity_id"
WHERE m."status" = 'active';

-- create "av_view_access": who may use what, and why not
CREATE VIEW "av_view_access" AS
SELECT x."identity_id", x."email", x."display_name", x."application_id", x."application_name", x."organization_id",
  x."organization_name", x."role_slug", x."role_name", x."reason" = 'allowed' AS "allowed", x."reason"
FROM (
  SELECT a."identity_id", i."email", i."display_name", a."application_id", p."name" AS "application_name",
    a."organization_id", o."name" AS "organization_name", a."role_slug", a."role_name",
    CASE
      WHEN i."sub" IS NULL THEN 'unknown_identity'
      WHEN NOT i."is_active" THEN 'identity_deactivated'
      WHEN o."status" = 'deleted' THEN 'tenant_deleted'
      WHEN o."status" = 'suspended' THEN 'tenant_suspended'
      ELSE coalesce((
        SELECT CASE min(CASE m."status" WHEN 'active' THEN 1 WHEN 'left' THEN 3 ELSE 2 END)
          WHEN 2 THEN 'membership_suspended' WHEN 3 THEN 'membership_left' END
        FROM "av_memberships" AS m
        WHERE m."identity_id" = a."identity_id" AND m."organization_id" = a."organization_id"
      ), CASE WHEN a."has_access" THEN 'allowed' ELSE 'no_access' END)
    END AS "reason"
  FROM "av_app_access" AS a
  LEFT JOIN "av_identities" AS i ON i."sub" = a."identity_id"
  LEFT JOIN "av_organizations" AS o ON o."tenant_id" = a."organization_id"
  LEFT JOIN "av_applications" AS p ON p."application_id" = a."application_id"
) AS x;

-- create "av_view_seats": how many seats were bought, and how many are taken
CREATE VIEW "av_view_seats" AS
SELECT s."organization_id", s."organization_name", s."application_id", p."name" AS "application_name",
  s."license_type_id", s."license_type_name", s."purchased", s."assigned", s."purchased" - s."assigned" AS "free"
FROM (
  SELECT u."organization_id", o."name" AS "organization_name", u."application_id", u."license_type_id",
    max(u."license_type_name") AS "license_type_name", sum(u."purchased")::bigint AS "purchased", sum(u."assigned")::bigint AS "assigned"
  FROM (
    SELECT "organization_id", "application_id", "license_type_id", "license_type_name", "quantity" AS "purchased", 0 AS "assigned"
    FROM "av_subscriptions" WHERE lower("status") = 'active'
    UNION ALL
    SELECT "organization_id", "application_id", "license_type_id", "license_type_name", 0, 1
    FROM "av_licenses" WHERE "status" = 'active'
  ) AS u
  LEFT JOIN "av_organizations" AS o ON o."tenant_id" = u."organization_id"
  GROUP BY u."organization_id", o."name", u."application_id", u."license_type_id"
) AS s
LEFT JOIN "av_applications" AS p ON p."application_id" = s."application_id";

-- +goose Down
-- reverse: create "av_view_seats"
DROP VIEW "av_view_seats";
-- reverse: create "av_view_access"
DROP VIEW "av_view_access";
-- reverse: create "av_view_members"
DROP VIEW "av_view_members";
