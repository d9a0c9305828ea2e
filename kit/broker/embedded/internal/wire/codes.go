package wire

// Error codes of the Kafka protocol guide.
const (
	None                     int16 = 0
	OffsetOutOfRange         int16 = 1
	CorruptMessage           int16 = 2
	UnknownTopicOrPartition  int16 = 3
	MessageTooLarge          int16 = 10
	InvalidTopic             int16 = 17
	InvalidRequiredAcks      int16 = 21
	UnsupportedVersion       int16 = 35
	TopicAlreadyExists       int16 = 36
	InvalidPartitions        int16 = 37
	InvalidReplicationFactor int16 = 38
	InvalidReplicaAssignment int16 = 39
	InvalidConfig            int16 = 40
	InvalidRequest           int16 = 42
	StorageError             int16 = 56
	FetchSessionNotFound     int16 = 70
	InvalidRecord            int16 = 87
)
