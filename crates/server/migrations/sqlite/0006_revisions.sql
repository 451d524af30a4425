-- Each commit draws 16 random bytes. A btoken is replaced only while its revision is still the one
-- that its client saw.
ALTER TABLE account ADD COLUMN revision BLOB;
-- CRC-64/NVME of the btoken, as a signed number: it finds damage.
ALTER TABLE account ADD COLUMN checksum INTEGER;
-- Where both are NULL, the btoken was stored before there were any: the first 16 bytes of btoken_hash
-- are its revision, and the whole is its checksum. Elsewhere btoken_hash is zero and means nothing.
-- So no row is touched, and the step takes as long with a million accounts as with one.
