#!/usr/bin/perl
# Writes a sample in KDBX 3.1: File::KeePass 2.03 (Debian libfile-keepass-perl).
use strict; use warnings; use File::KeePass;
my $kp = File::KeePass->new;
my $root = $kp->add_group({title => "Database"});
my $web = $kp->add_group({title => "Web", group => $root->{id}});
$kp->add_entry({title => "and/or", username => "alice", password => "correct horse 🔑", url => "https://example.org/?a=1&b=2",
  comment => "line one\nline two", strings => {PIN => "1234"}, protected => {PIN => 1, password => 1}, group => $web->{id}});
$kp->add_entry({title => "other", username => "bob", password => "p", group => $root->{id}});
$kp->save_db($ARGV[0], "import sample", {version => 2});
