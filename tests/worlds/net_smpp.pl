# A message centre made of Net::SMPP (Debian: libnet-smpp-perl), as a second opinion beside smpp34.
# What it does with a message, the recipient's last digit says. It prints its port, then what it took.
use strict;
use warnings;
use IO::Select;
use Net::SMPP;

$| = 1;
my %ends = (0 => "DELIVRD", 1 => "UNDELIV", 2 => "EXPIRED", 3 => "REJECTD", 5 => "DELIVRD");
my ($count, %seen) = (0);
my $listen = Net::SMPP->new_listen("127.0.0.1", port => $ARGV[0]) or die "no port: $!";
print "ready\n";
while (my $peer = $listen->accept) {
    while (my $pdu = $peer->read_pdu) {
        my $seq = $pdu->{seq};
        if ($pdu->{cmd} == Net::SMPP::CMD_bind_transceiver) {
            my $status = $pdu->{password} eq "secret" ? 0 : 0x0E;
            $peer->bind_transceiver_resp(system_id => "PERL", status => $status, seq => $seq);
        }
        elsif ($pdu->{cmd} == Net::SMPP::CMD_enquire_link) { $peer->enquire_link_resp(seq => $seq) }
        elsif ($pdu->{cmd} == Net::SMPP::CMD_unbind) { $peer->unbind_resp(seq => $seq) }
        elsif ($pdu->{cmd} == Net::SMPP::CMD_submit_sm) { take($peer, $pdu, $seq) }
        elsif ($pdu->{cmd} == Net::SMPP::CMD_deliver_sm_resp) { print "receipt $pdu->{status}\n" }
    }
    $peer->close;
}

sub take {
    my ($peer, $pdu, $seq) = @_;
    my $to = $pdu->{destination_addr};
    my $digit = substr $to, -1;
    my $status = $digit == 4 ? 0x0B : $digit == 5 && !$seen{$to}++ ? 0x58 : 0;
    my $id = sprintf "perl-%d", ++$count;
    print join(" ", "taken", $to, $status, $pdu->{data_coding}, unpack("H*", $pdu->{short_message})), "\n";
    $peer->submit_sm_resp(message_id => $status ? "" : $id, status => $status, seq => $seq);
    return if $status;
    $peer->deliver_sm(
        source_addr => $to, destination_addr => $pdu->{source_addr}, esm_class => 4, async => 1,
        short_message => "id:$id sub:001 dlvrd:001 stat:$ends{$digit} err:000 text:",
    );
}
