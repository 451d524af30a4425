#!/usr/bin/perl
# Writes a sample of KeePass 1: File::KeePass 2.03 (Debian libfile-keepass-perl).
use strict; use warnings; use File::KeePass;
my $kp = File::KeePass->new;
my $web = $kp->add_group({title => "Web"});
my $deep = $kp->add_group({title => "a/b", group => $web->{id}});
my $mail = $kp->add_group({title => "Mail"});
$kp->add_entry({title => "shop", username => "alice", password => "correct horse 🔑", url => "https://example.org/?a=1&b=2",
  comment => "line one\nline two", group => $web->{id}, modified => "2020-05-06 07:08:09", expires => "2030-01-02 03:04:05"});
$kp->add_entry({title => "deep", username => "bob", password => "p", group => $deep->{id}, binary => {"note.txt" => "attached"}});
$kp->add_entry({title => "", username => "carol", password => "q", url => "https://host.example/login", group => $mail->{id}});
$kp->add_entry({title => "Meta-Info", username => "SYSTEM", url => "\$", comment => "KPX_GROUP_TREE_STATE",
  binary => {"bin-stream" => "x"}, group => $web->{id}});
$kp->save_db($ARGV[0], $ARGV[1], {version => 1});
