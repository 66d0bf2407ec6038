-- Scans of images. work: 'scan' (read the layers), 'compare' (compare the stored packages with other advisories), 'unwanted' (the image is
-- gone), 'none'. due_at is when somebody is to do it; who does it sets due_at to when its claim ends, and version, which grows with each
-- change, refuses the one who lost its claim. result names the rows of scan_findings that count. advisories names what the packages were
-- compared with; it is NULL where no packages are stored.
CREATE TABLE image_scans (
    image_id BIGINT NOT NULL PRIMARY KEY,
    repository_id BIGINT NOT NULL,
    work TEXT NOT NULL,
    due_at BIGINT,
    version BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    status TEXT NOT NULL,
    description TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    completed_at BIGINT,
    advisories TEXT,
    advisories_at BIGINT,
    counts TEXT NOT NULL,
    result BIGINT NOT NULL
) {without_rowid};
CREATE INDEX image_scans_due ON image_scans (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX image_scans_by_advisories ON image_scans (advisories) WHERE advisories IS NOT NULL AND due_at IS NULL;
CREATE INDEX image_scans_by_repository ON image_scans (repository_id, work, image_id);

-- The packages of an image, as JSON.
CREATE TABLE scan_inventories (
    image_id BIGINT NOT NULL PRIMARY KEY,
    inventory TEXT NOT NULL
);

CREATE TABLE scan_findings (
    image_id BIGINT NOT NULL,
    result BIGINT NOT NULL,
    position BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (image_id, result, position)
);
