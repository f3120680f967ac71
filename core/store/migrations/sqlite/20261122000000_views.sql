-- +goose Up
-- The views are for people and their SQL; nothing of avhub reads them. A later migration that rebuilds a table
-- which they read has to drop them before and to create them again.

-- create "av_view_members": who is an active member of what
CREATE VIEW `av_view_members` AS
SELECT m.`membership_id`, m.`organization_id`, o.`name` AS `organization_name`, o.`slug` AS `organization_slug`,
  o.`status` AS `organization_status`, m.`identity_id`, i.`email`, i.`display_name`, i.`is_active`, m.`roles`,
  m.`created_at` AS `member_since`
FROM `av_memberships` AS m
LEFT JOIN `av_organizations` AS o ON o.`tenant_id` = m.`organization_id`
LEFT JOIN `av_identities` AS i ON i.`sub` = m.`identity_id`
WHERE m.`status` = 'active';

-- create "av_view_access": who may use what, and why not
CREATE VIEW `av_view_access` AS
SELECT x.`identity_id`, x.`email`, x.`display_name`, x.`application_id`, x.`application_name`, x.`organization_id`,
  x.`organization_name`, x.`role_slug`, x.`role_name`, x.`reason` = 'allowed' AS `allowed`, x.`reason`
FROM (
  SELECT a.`identity_id`, i.`email`, i.`display_name`, a.`application_id`, p.`name` AS `application_name`,
    a.`organization_id`, o.`name` AS `organization_name`, a.`role_slug`, a.`role_name`,
    CASE
      WHEN i.`sub` IS NULL THEN 'unknown_identity'
      WHEN NOT i.`is_active` THEN 'identity_deactivated'
      WHEN o.`status` = 'deleted' THEN 'tenant_deleted'
      WHEN o.`status` = 'suspended' THEN 'tenant_suspended'
      ELSE coalesce((
        SELECT CASE min(CASE m.`status` WHEN 'active' THEN 1 WHEN 'left' THEN 3 ELSE 2 END)
          WHEN 2 THEN 'membership_suspended' WHEN 3 THEN 'membership_left' END
        FROM `av_memberships` AS m
        WHERE m.`identity_id` = a.`identity_id` AND m.`organization_id` = a.`organization_id`
      ), CASE WHEN a.`has_access` THEN 'allowed' ELSE 'no_access' END)
    END AS `reason`
  FROM `av_app_access` AS a
  LEFT JOIN `av_identities` AS i ON i.`sub` = a.`identity_id`
  LEFT JOIN `av_organizations` AS o ON o.`tenant_id` = a.`organization_id`
  LEFT JOIN `av_applications` AS p ON p.`application_id` = a.`application_id`
) AS x;

-- create "av_view_seats": how many seats were bought, and how many are taken
CREATE VIEW `av_view_seats` AS
SELECT k.`organization_id`, o.`name` AS `organization_name`, k.`application_id`, p.`name` AS `application_name`,
  k.`license_type_id`, k.`license_type_name`, k.`purchased`, k.`assigned`, k.`purchased` - k.`assigned` AS `free`
FROM (
  -- Not one GROUP BY over both: SQLite would go through all organizations for one of them. And + keeps it from going
  -- through all licenses of an application for one organization.
  SELECT s.`organization_id`, s.`application_id`, s.`license_type_id`, max(s.`license_type_name`) AS `license_type_name`,
    sum(s.`quantity`) AS `purchased`,
    (SELECT count(*) FROM `av_licenses` AS l WHERE l.`status` = 'active' AND l.`organization_id` IS s.`organization_id`
      AND +l.`application_id` IS s.`application_id` AND +l.`license_type_id` IS s.`license_type_id`) AS `assigned`
  FROM `av_subscriptions` AS s
  WHERE lower(s.`status`) = 'active'
  GROUP BY s.`organization_id`, s.`application_id`, s.`license_type_id`
  UNION ALL
  SELECT l.`organization_id`, l.`application_id`, l.`license_type_id`, max(l.`license_type_name`), 0, count(*)
  FROM `av_licenses` AS l
  WHERE l.`status` = 'active' AND NOT EXISTS (
    SELECT 1 FROM `av_subscriptions` AS s WHERE lower(s.`status`) = 'active' AND s.`organization_id` IS l.`organization_id`
      AND +s.`application_id` IS l.`application_id` AND +s.`license_type_id` IS l.`license_type_id`)
  GROUP BY l.`organization_id`, l.`application_id`, l.`license_type_id`
) AS k
LEFT JOIN `av_organizations` AS o ON o.`tenant_id` = k.`organization_id`
LEFT JOIN `av_applications` AS p ON p.`application_id` = k.`application_id`;

-- +goose Down
-- reverse: create "av_view_seats"
DROP VIEW `av_view_seats`;
-- reverse: create "av_view_access"
DROP VIEW `av_view_access`;
-- reverse: create "av_view_members"
DROP VIEW `av_view_members`;
